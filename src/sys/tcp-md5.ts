/**
 * TCP MD5 signatures (RFC 2385): which key belongs to which address, on a listening or connecting socket (include/uapi/linux/tcp.h, tcp_md5sig).
 *
 * With a key for an address, segments from there without the right signature are dropped; without a key, those with one are.
 */
import { socketAddress } from "./datagram-socket.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { isErrno } from "./errno.ts";
import { stable } from "./memory.ts";

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_TCP = 6;
const TCP_MD5SIG = 14;
const TCP_MD5SIG_EXT = 32;
const FLAG_PREFIX = 1;

/** struct tcp_md5sig: a sockaddr_storage, flags, prefix length, key length, interface, key. */
const LAYOUT = { bytes: 216, flags: 128, prefixLength: 129, keyLength: 130, key: 136 } as const;

/** MD5_KEY_BYTES is the longest key that the kernel takes (TCP_MD5SIG_MAXKEYLEN). */
export const MD5_KEY_BYTES = 80;

/** Md5Peer is whose segments are signed: one address, or with `prefixLength` all of a network (Linux 4.13). */
export interface Md5Peer {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly prefixLength?: number | undefined;
}

/** setMd5Key gives a socket the key of a peer. */
export function setMd5Key(socket: number, peer: Md5Peer, key: Uint8Array): void {
  if (key.length === 0 || key.length > MD5_KEY_BYTES)
    throw new RangeError(
      `Cannot set an MD5 key of ${key.length} bytes: TCP takes 1 to ${MD5_KEY_BYTES}; choose another password`,
    );
  apply(socket, peer, key);
}

/** removeMd5Key takes the key of a peer away from a socket; one that is not there is not an error. */
export function removeMd5Key(socket: number, peer: Md5Peer): void {
  try {
    apply(socket, peer, new Uint8Array(0));
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

/** md5Problem tells why this kernel has no TCP MD5 signatures; undefined when it has (CONFIG_TCP_MD5SIG). */
export function md5Problem(): string | undefined {
  using fd = new Fd(libc.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "probe of TCP MD5");
  try {
    setMd5Key(fd.number, { address: new Uint8Array([127, 0, 0, 1]) }, new Uint8Array([1]));
    return undefined;
  } catch (error) {
    if (isErrno(error, "ENOPROTOOPT", "EOPNOTSUPP")) return "the kernel has no TCP MD5 signatures";
    throw error;
  }
}

function apply(socket: number, peer: Md5Peer, key: Uint8Array): void {
  const request = stable(LAYOUT.bytes);
  request.set(socketAddress(peer.address, 0));
  const prefixed = peer.prefixLength !== undefined;
  if (prefixed) {
    request[LAYOUT.flags] = FLAG_PREFIX;
    request[LAYOUT.prefixLength] = peer.prefixLength;
  }
  new DataView(request.buffer).setUint16(LAYOUT.keyLength, key.length, true);
  request.set(key, LAYOUT.key);
  try {
    libc.setsockopt(socket, SOL_TCP, prefixed ? TCP_MD5SIG_EXT : TCP_MD5SIG, request);
  } finally {
    request.fill(0);
  }
}
