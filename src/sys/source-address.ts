/** The address of ours that the system would use to speak to another: what its routing says, asked with a socket that sends nothing. */
import { SOCKET_ADDRESS, socketAddress } from "./datagram-socket.ts";
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";
import type { Netns } from "./netns.ts";
import { markDatagrams } from "./reuseport.ts";

const AF = { 4: 2, 6: 10 } as const;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
/** Any protocol may be asked about; with UDP's number rules for that protocol apply. */
const IPPROTO_UDP = 17;

/** SourceOptions say whose routing is asked. */
export interface SourceOptions {
  /** It must stay open as long as the SourceAddresses are used. */
  readonly netns?: Netns | undefined;
  /** What routing rules look at (SO_MARK). */
  readonly mark?: number | undefined;
}

/** SourceAddresses owns the socket that asks for one family. */
export class SourceAddresses implements Disposable {
  readonly #fd: Fd;
  readonly #family: 4 | 6;
  readonly #options: SourceOptions;

  private constructor(fd: Fd, family: 4 | 6, options: SourceOptions) {
    this.#fd = fd;
    this.#family = family;
    this.#options = options;
  }

  /** open makes the socket; EAFNOSUPPORT if the system has no IPv6. */
  static open(family: 4 | 6, options: SourceOptions = {}): SourceAddresses {
    const make = () =>
      new Fd(libc.socket(AF[family], SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP), `source of udp${family}`);
    const fd = options.netns === undefined ? make() : options.netns.run(make);
    try {
      if (options.mark !== undefined && options.mark !== 0) markDatagrams(fd.number, options.mark);
      return new SourceAddresses(fd, family, options);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** towards returns the address, 4 or 16 bytes; throws as connect(2) does, ENETUNREACH without a route. */
  towards(address: Uint8Array, port: number): Uint8Array<ArrayBuffer> {
    const { number } = this.#fd;
    // A socket that was connected keeps its first address until it is disconnected (AF_UNSPEC, connect(2)).
    libc.connect(number, stable(16));
    libc.connect(number, socketAddress(address, port));
    const name = libc.getsockname(number);
    const at = this.#family === 4 ? SOCKET_ADDRESS.address4 : SOCKET_ADDRESS.address6;
    return name.slice(at, at + (this.#family === 4 ? 4 : 16));
  }

  /** has tells whether an address is ours: whether a socket could have it. */
  has(address: Uint8Array): boolean {
    const { netns } = this.#options;
    const make = () => new Fd(libc.socket(AF[this.#family], SOCK_DGRAM | SOCK_CLOEXEC, 0), "address");
    using fd = netns === undefined ? make() : netns.run(make);
    try {
      libc.bind(fd.number, socketAddress(address, 0));
      return true;
    } catch (error) {
      if (isErrno(error, "EADDRNOTAVAIL", "EINVAL")) return false;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}
