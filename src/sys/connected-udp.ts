/**
 * A UDP socket that speaks to one other: the kernel lets nothing in that comes from anywhere else (udp(7), connect), and reports what ICMP says.
 */
import { SOCKET_ADDRESS, socketAddress } from "./datagram-socket.ts";
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";
import type { Netns } from "./netns.ts";
import { watchSocket } from "./watch.ts";

const AF = { 4: 2, 6: 10 } as const;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

/** ConnectedUdpOptions say whom it speaks to. */
export interface ConnectedUdpOptions {
  readonly netns?: Netns | undefined;
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly port: number;
  /** The address of ours to speak from; default what routing chooses. */
  readonly from?: Uint8Array | undefined;
  /** The interface of a link-local address. */
  readonly scope?: number | undefined;
  readonly onDatagram: (bytes: Uint8Array) => void;
  /** Nobody listens there, or there is no way; nothing comes any more. */
  readonly onFailure: () => void;
}

/** ConnectedUdp owns the socket. */
export class ConnectedUdp implements Disposable {
  /** The address of ours that it speaks from, 4 or 16 bytes. */
  readonly localAddress: Uint8Array<ArrayBuffer>;
  readonly #fd: Fd;
  readonly #watch: Disposable;

  private constructor(fd: Fd, options: ConnectedUdpOptions) {
    this.#fd = fd;
    const name = libc.getsockname(fd.number);
    const at = options.address.length === 4 ? SOCKET_ADDRESS.address4 : SOCKET_ADDRESS.address6;
    this.localAddress = name.slice(at, at + options.address.length);
    this.#watch = watchSocket(fd, { onMessage: options.onDatagram, onFailure: options.onFailure });
  }

  /** open makes the socket; throws as connect(2) does, ENETUNREACH without a route. */
  static open(options: ConnectedUdpOptions): ConnectedUdp {
    const { netns, address, port, scope = 0 } = options;
    const make = () =>
      new Fd(
        libc.socket(AF[address.length === 4 ? 4 : 6], SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
        "connected udp",
      );
    const fd = netns === undefined ? make() : netns.run(make);
    try {
      if (options.from !== undefined) libc.bind(fd.number, socketAddress(options.from, 0));
      libc.connect(fd.number, socketAddress(address, port, scope));
      return new ConnectedUdp(fd, options);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** send sends one datagram; false when the system took nothing. */
  send(bytes: Uint8Array): boolean {
    const copy = stable(bytes.length);
    copy.set(bytes);
    try {
      libc.send(this.#fd.number, copy);
      return true;
    } catch (error) {
      if (
        isErrno(error, "ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "EPERM", "EAGAIN", "ENOBUFS", "EINVAL")
      )
        return false;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#fd.close();
  }
}
