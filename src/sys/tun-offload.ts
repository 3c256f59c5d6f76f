/** What a TUN queue may leave to its reader and accept from its writer (include/uapi/linux/if_tun.h). */
import { isErrno } from "./errno.ts";
import type { Fd } from "./fd.ts";
import * as libc from "./libc.ts";

const TUNSETOFFLOAD = 0x400454d0;
const CSUM = 0x01;
const TSO4 = 0x02;
const TSO6 = 0x04;
const TSO_ECN = 0x08;
const USO4 = 0x20;
const USO6 = 0x40;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

/** TunOffload says what the kernel agreed to. */
export interface TunOffload {
  /** TCP super-packets of up to 64 KiB. */
  readonly tcp: boolean;
  /** UDP likewise (Linux 6.2). */
  readonly udp: boolean;
}

/** setTunOffload asks for all that the packet path can do, then for less; the queue must have been attached with `vnetHeader`. */
export function setTunOffload(fd: Fd): TunOffload {
  const tcp = CSUM | TSO4 | TSO6 | TSO_ECN;
  for (const [offload, flags] of [
    [{ tcp: true, udp: true }, tcp | USO4 | USO6],
    [{ tcp: true, udp: false }, tcp],
  ] as const) {
    try {
      libc.ioctlValue(fd.number, TUNSETOFFLOAD, flags);
      return offload;
    } catch (error) {
      if (!isErrno(error, "EINVAL")) throw error;
    }
  }
  return { tcp: false, udp: false };
}

/** setNonBlocking makes reads and writes return at once (EAGAIN). */
export function setNonBlocking(fd: Fd): void {
  libc.fcntl(fd.number, F_SETFL, libc.fcntl(fd.number, F_GETFL, 0) | O_NONBLOCK);
}
