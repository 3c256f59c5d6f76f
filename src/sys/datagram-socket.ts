/**
 * UDP sockets for batches: the kernel splits what is sent (UDP_SEGMENT) and joins what is received (UDP_GRO).
 *
 * They are used by the calls of arena-calls.ts only, never by the runtime. Numbers: include/uapi/linux/{in,in6,udp}.h.
 */
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";
import type { Netns } from "./netns.ts";

const AF = { 4: 2, 6: 10 } as const;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_REUSEPORT = 15;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_IP = 0;
const IP_PKTINFO = 8;
const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;

/** Enough for some milliseconds of 10 Gbit/s; what wireguard-go asks for. */
const BUFFER_BYTES = 7 << 20;

/** SocketAddress lays out addresses as the kernel has them: `sockaddr_in` and `sockaddr_in6`. */
export const SOCKET_ADDRESS = { bytes: 28, family: 0, port: 2, address4: 4, address6: 8, scope: 24 } as const;

/** socketAddress returns the kernel's form of an address of 4 or 16 bytes and a port: 16 or 28 bytes. */
export function socketAddress(address: Uint8Array, port: number, scope = 0): Uint8Array<ArrayBuffer> {
  const four = address.length === 4;
  const bytes = stable(four ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(SOCKET_ADDRESS.family, AF[four ? 4 : 6], true);
  view.setUint16(SOCKET_ADDRESS.port, port);
  bytes.set(address, four ? SOCKET_ADDRESS.address4 : SOCKET_ADDRESS.address6);
  if (!four) view.setUint32(SOCKET_ADDRESS.scope, scope, true);
  return bytes;
}

/** DatagramOptions say where a socket lives and what comes with what it receives. */
export interface DatagramOptions {
  readonly netns?: Netns;
  /** 4 or 16 bytes; default any. */
  readonly address?: Uint8Array;
  /** Default: chosen by the system. */
  readonly port?: number;
  /** Several sockets share the port, and the kernel spreads senders over them. */
  readonly sharePort?: boolean;
  /** Each datagram tells the address that it was sent to, so that the answer can come from there. */
  readonly localAddress?: boolean;
  readonly bufferBytes?: number;
}

/** DatagramSocket owns a socket and says what the kernel does for it. */
export class DatagramSocket implements Disposable {
  readonly fd: Fd;
  readonly family: 4 | 6;
  /** Whether the kernel splits what is sent (Linux 4.18), and joins what is received (Linux 5.0). */
  readonly splits: boolean;
  readonly joins: boolean;

  private constructor(fd: Fd, family: 4 | 6) {
    this.fd = fd;
    this.family = family;
    const number = fd.number;
    this.splits = accepts(() => libc.setsockopt(number, SOL_UDP, UDP_SEGMENT, 0));
    this.joins = accepts(() => libc.setsockopt(number, SOL_UDP, UDP_GRO, 1));
  }

  /** open makes and binds a socket; EADDRINUSE if the port is taken, EAFNOSUPPORT if the system has no IPv6. */
  static open(family: 4 | 6, options: DatagramOptions = {}): DatagramSocket {
    const make = () =>
      new Fd(libc.socket(AF[family], SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), `udp${family} socket`);
    const fd = options.netns === undefined ? make() : options.netns.run(make);
    try {
      const number = fd.number;
      // Each family has its own socket, on the same port.
      if (family === 6) libc.setsockopt(number, SOL_IPV6, IPV6_V6ONLY, 1);
      if (options.sharePort === true) libc.setsockopt(number, SOL_SOCKET, SO_REUSEPORT, 1);
      if (options.localAddress === true)
        if (family === 4) libc.setsockopt(number, SOL_IP, IP_PKTINFO, 1);
        else libc.setsockopt(number, SOL_IPV6, IPV6_RECVPKTINFO, 1);
      const bytes = options.bufferBytes ?? BUFFER_BYTES;
      setBuffer(number, { force: SO_RCVBUFFORCE, plain: SO_RCVBUF, bytes });
      setBuffer(number, { force: SO_SNDBUFFORCE, plain: SO_SNDBUF, bytes });
      const address = options.address ?? new Uint8Array(family === 4 ? 4 : 16);
      libc.bind(number, socketAddress(address, options.port ?? 0));
      return new DatagramSocket(fd, family);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** adopt takes over a socket that was opened elsewhere. */
  static adopt(fd: Fd, family: 4 | 6): DatagramSocket {
    return new DatagramSocket(fd, family);
  }

  /** The port that the socket is bound to. */
  get port(): number {
    const address = libc.getsockname(this.fd.number);
    return ((address[2] as number) << 8) | (address[3] as number);
  }

  close(): void {
    this.fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function accepts(set: () => void): boolean {
  try {
    set();
    return true;
  } catch (error) {
    if (isErrno(error, "ENOPROTOOPT", "EOPNOTSUPP", "EINVAL")) return false;
    throw error;
  }
}

function setBuffer(
  fd: number,
  { force, plain, bytes }: { readonly force: number; readonly plain: number; readonly bytes: number },
): void {
  try {
    libc.setsockopt(fd, SOL_SOCKET, force, bytes);
  } catch (error) {
    // Without CAP_NET_ADMIN in the first user namespace only the system's limit is granted.
    if (!isErrno(error, "EPERM")) throw error;
    libc.setsockopt(fd, SOL_SOCKET, plain, bytes);
  }
}
