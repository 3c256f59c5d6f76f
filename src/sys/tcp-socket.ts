/**
 * TCP sockets with the options that routing protocols need, made by FFI in any namespace: which hop count they send with and accept, by which
 * interface they go, where from. What is read and written goes by tcp-stream.ts. Numbers: include/uapi/linux/{in,in6,tcp}.h.
 */
import { SOCKET_ADDRESS, socketAddress } from "./datagram-socket.ts";
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { cString } from "./memory.ts";
import type { Netns } from "./netns.ts";

const AF = { 4: 2, 6: 10 } as const;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_RCVBUF = 8;
const SO_BINDTODEVICE = 25;
const SOL_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;
const IP_MINTTL = 21;
const SOL_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_V6ONLY = 26;
const IPV6_TCLASS = 67;
const IPV6_MINHOPCOUNT = 73;
const SOL_TCP = 6;
const TCP_NODELAY = 1;
const TCP_USER_TIMEOUT = 18;
const TCP_SAVE_SYN = 27;
const TCP_SAVED_SYN = 28;

/** Where a TTL stands in an IPv4 header, and a hop limit in an IPv6 header (RFC 791 section 3.1, RFC 8200 section 3). */
const TTL_AT = { 4: 8, 6: 7 } as const;

/** TcpSocketOptions say what a socket is like before it listens or connects. */
export interface TcpSocketOptions {
  readonly netns?: Netns | undefined;
  /** 4 or 16 bytes: the address of ours. Default any. */
  readonly address?: Uint8Array | undefined;
  readonly port?: number | undefined;
  /** The interface of a link-local address. */
  readonly scope?: number | undefined;
  /** The only interface that it uses (SO_BINDTODEVICE). */
  readonly device?: string | undefined;
  /** TTL or hop limit of what is sent; default the system's, 64. */
  readonly ttl?: number | undefined;
  /** DSCP and ECN bits of what is sent. */
  readonly trafficClass?: number | undefined;
  /** What may wait to be read; default the system's, which grows. */
  readonly receiveBufferBytes?: number | undefined;
}

/** TcpName is one end of a connection. */
export interface TcpName {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array<ArrayBuffer>;
  readonly port: number;
  /** Index of the interface of a link-local address, else 0. */
  readonly scope: number;
}

/** openTcpSocket makes a socket; EADDRNOTAVAIL if the address is not ours, ENODEV if there is no such interface. */
export function openTcpSocket(family: 4 | 6, options: TcpSocketOptions): Fd {
  const make = () =>
    new Fd(libc.socket(AF[family], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), `tcp${family} socket`);
  const { netns, address, port, device, ttl, trafficClass, receiveBufferBytes } = options;
  const fd = netns === undefined ? make() : netns.run(make);
  try {
    const { number } = fd;
    if (family === 6) libc.setsockopt(number, SOL_IPV6, IPV6_V6ONLY, 1);
    libc.setsockopt(number, SOL_TCP, TCP_NODELAY, 1);
    if (device !== undefined) libc.setsockopt(number, SOL_SOCKET, SO_BINDTODEVICE, cString(device));
    if (ttl !== undefined) setTtl(number, family, ttl);
    if (trafficClass !== undefined)
      if (family === 4) libc.setsockopt(number, SOL_IP, IP_TOS, trafficClass);
      else libc.setsockopt(number, SOL_IPV6, IPV6_TCLASS, trafficClass);
    // Set, it does not grow by itself any more: the most that one wake-up can hand over.
    if (receiveBufferBytes !== undefined) libc.setsockopt(number, SOL_SOCKET, SO_RCVBUF, receiveBufferBytes);
    if (address !== undefined || port !== undefined) {
      libc.setsockopt(number, SOL_SOCKET, SO_REUSEADDR, 1);
      const any = new Uint8Array(family === 4 ? 4 : 16);
      libc.bind(number, socketAddress(address ?? any, port ?? 0, options.scope));
    }
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** startListening makes a socket listen, and keep the first packet of each connection until it is asked for (`firstPacket`). */
export function startListening(socket: number, backlog: number): void {
  libc.setsockopt(socket, SOL_TCP, TCP_SAVE_SYN, 1);
  libc.listen(socket, backlog);
}

/** startConnecting begins to connect, without waiting; throws what connect(2) says at once, ENETUNREACH without a route. */
export function startConnecting(
  socket: number,
  to: { readonly address: Uint8Array; readonly port: number; readonly scope?: number | undefined },
): void {
  try {
    libc.connect(socket, socketAddress(to.address, to.port, to.scope));
  } catch (error) {
    if (!isErrno(error, "EINPROGRESS")) throw error;
  }
}

/** setTtl sets the TTL or hop limit of what a socket sends. */
export function setTtl(socket: number, family: 4 | 6, ttl: number): void {
  if (family === 4) libc.setsockopt(socket, SOL_IP, IP_TTL, ttl);
  else libc.setsockopt(socket, SOL_IPV6, IPV6_UNICAST_HOPS, ttl);
}

/** setMinimumTtl has the kernel drop segments that arrive with a smaller TTL or hop limit (RFC 5082). */
export function setMinimumTtl(socket: number, family: 4 | 6, ttl: number): void {
  if (family === 4) libc.setsockopt(socket, SOL_IP, IP_MINTTL, ttl);
  else libc.setsockopt(socket, SOL_IPV6, IPV6_MINHOPCOUNT, ttl);
}

/** setUserTimeout says how long sent bytes may stay unacknowledged before the kernel gives the connection up (RFC 5482). */
export function setUserTimeout(socket: number, timeoutMs: number): void {
  libc.setsockopt(socket, SOL_TCP, TCP_USER_TIMEOUT, timeoutMs);
}

/** FirstPacket is what an accepted connection's first packet came with. */
export interface FirstPacket {
  /** TTL or hop limit. */
  readonly ttl: number;
  /** It had an MD5 signature (RFC 2385), which the kernel has checked. */
  readonly signed: boolean;
}

/** firstPacket reads the SYN of an accepted connection; undefined when the kernel did not keep it (SYN cookies). */
export function firstPacket(socket: number): FirstPacket | undefined {
  const headers = libc.getsockopt(socket, SOL_TCP, TCP_SAVED_SYN, 512);
  const version = (headers[0] ?? 0) >>> 4;
  if (version !== 4 && version !== 6) return undefined;
  const ttl = headers[TTL_AT[version]] ?? 0;
  // Both headers may have options, and the kernel keeps them; extension headers of IPv6 are not followed: then nothing is signed.
  const tcp =
    version === 4 ? ((headers[0] as number) & 15) * 4 : headers[6] === SOL_TCP ? 40 : headers.length;
  return { ttl, signed: hasOption(headers, tcp) };
}

const OPTION_END = 0;
const OPTION_NOTHING = 1;
const OPTION_MD5 = 19;

/** Looks through a TCP header's options (RFC 9293 section 3.1). */
function hasOption(headers: Uint8Array, tcp: number): boolean {
  const end = Math.min(headers.length, tcp + ((headers[tcp + 12] ?? 0) >>> 4) * 4);
  for (let at = tcp + 20; at < end;) {
    const kind = headers[at];
    if (kind === OPTION_MD5) return true;
    if (kind === OPTION_END) return false;
    at += kind === OPTION_NOTHING ? 1 : Math.max(2, headers[at + 1] ?? 2);
  }
  return false;
}

/** localName returns our end of a socket. */
export function localName(socket: number): TcpName {
  return nameOf(libc.getsockname(socket));
}

/** remoteName returns the other end of a connected socket; ENOTCONN if it is not connected. */
export function remoteName(socket: number): TcpName {
  return nameOf(libc.getpeername(socket));
}

function nameOf(raw: Uint8Array<ArrayBuffer>): TcpName {
  const view = new DataView(raw.buffer);
  const four = view.getUint16(SOCKET_ADDRESS.family, true) === AF[4];
  const at = four ? SOCKET_ADDRESS.address4 : SOCKET_ADDRESS.address6;
  return {
    address: raw.slice(at, at + (four ? 4 : 16)),
    port: view.getUint16(SOCKET_ADDRESS.port),
    scope: four ? 0 : view.getUint32(SOCKET_ADDRESS.scope, true),
  };
}
