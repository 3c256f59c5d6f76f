/**
 * Raw IP sockets of one protocol, for batches (arena-calls.ts): the kernel makes the outer IP header, and over IPv4 shows it with what is
 * received (raw(7)).
 */
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { socketAddress } from "./datagram-socket.ts";
import type { Netns } from "./netns.ts";

const AF = { 4: 2, 6: 10 } as const;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_IP = 0;
const IP_PKTINFO = 8;
const SOL_IPV6 = 41;
const IPV6_RECVPKTINFO = 49;

/** As DatagramSocket has it. */
const BUFFER_BYTES = 7 << 20;

/** IP_PROTOCOL_ESP is Encapsulating Security Payload (IANA, protocol numbers). */
export const IP_PROTOCOL_ESP = 50;
/** IP_PROTOCOL_UDP is the User Datagram Protocol. */
export const IP_PROTOCOL_UDP = 17;

/** RawSocketOptions say where a socket lives and what comes with what it receives. */
export interface RawSocketOptions {
  readonly protocol: number;
  readonly netns?: Netns | undefined;
  /** 4 or 16 bytes; default any. */
  readonly address?: Uint8Array;
  /** Each packet tells the address that it was sent to. */
  readonly localAddress?: boolean;
  /** Default: some megabytes. */
  readonly bufferBytes?: number;
}

/** RawSocket owns a socket; it needs CAP_NET_RAW. */
export class RawSocket implements Disposable {
  readonly fd: Fd;
  readonly family: 4 | 6;
  /** The kernel splits nothing here. */
  readonly splits = false;

  private constructor(fd: Fd, family: 4 | 6) {
    this.fd = fd;
    this.family = family;
  }

  /** open makes and binds a socket; EPERM without CAP_NET_RAW, EAFNOSUPPORT if the system has no IPv6. */
  static open(family: 4 | 6, options: RawSocketOptions): RawSocket {
    const make = () =>
      new Fd(
        libc.socket(AF[family], SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, options.protocol),
        `raw${family} socket`,
      );
    const fd = options.netns === undefined ? make() : options.netns.run(make);
    try {
      const { number } = fd;
      if (options.localAddress === true)
        if (family === 4) libc.setsockopt(number, SOL_IP, IP_PKTINFO, 1);
        else libc.setsockopt(number, SOL_IPV6, IPV6_RECVPKTINFO, 1);
      for (const option of [SO_RCVBUFFORCE, SO_SNDBUFFORCE])
        try {
          libc.setsockopt(number, SOL_SOCKET, option, options.bufferBytes ?? BUFFER_BYTES);
        } catch (error) {
          // Without CAP_NET_ADMIN in the first user namespace the system's default stays.
          if (!isErrno(error, "EPERM")) throw error;
        }
      if (options.address !== undefined) libc.bind(number, socketAddress(options.address, 0));
      return new RawSocket(fd, family);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  close(): void {
    this.fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
