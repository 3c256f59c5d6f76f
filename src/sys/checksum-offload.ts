/** Checksums of an interface of the thread's namespace: written whole, or left to a card, which on a veth pair nobody is (ethtool(8), `tx`). */
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { addressOf, stable } from "./memory.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SIOCETHTOOL = 0x8946;
/** ETHTOOL_STXCSUM (include/uapi/linux/ethtool.h). */
const SET_TX_CHECKSUM = 0x17;
/** `struct ifreq`: a name, and a pointer. */
const REQUEST_BYTES = 40;
const NAME_BYTES = 16;

/** wholeChecksums has the kernel write checksums before packets leave by an interface; segments are cut by it too. Nothing where there is no such interface. */
export function wholeChecksums(name: string): void {
  using socket = new Fd(libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), `ethtool ${name}`);
  const data = stable(8);
  new DataView(data.buffer).setUint32(0, SET_TX_CHECKSUM, true);
  const request = stable(REQUEST_BYTES);
  request.set(new TextEncoder().encode(name));
  new DataView(request.buffer).setBigUint64(NAME_BYTES, BigInt(addressOf(data)), true);
  try {
    libc.ioctl(socket.number, SIOCETHTOOL, request);
  } catch (error) {
    if (!isErrno(error, "ENODEV", "EOPNOTSUPP")) throw error;
  }
}
