/**
 * Listener: a socket on multicast groups. The event loop wakes it up; `drain` reads at once what is queued.
 *
 * When the kernel's queue overflows, messages are lost and the kernel says so once (ENOBUFS). The listener then opens a new socket
 * first and calls `onOverrun` after, so that what the owner reads anew is at least as old as the first new message.
 */
import {
  duplicate,
  type Fd,
  isErrno,
  libc,
  MSG,
  Netns,
  openNetlinkSocket,
  stable,
  SystemError,
  watchSocket,
} from "../sys/mod.ts";

/** For all listeners: who is handed a datagram reads it before anything else is received. */
let shared: Uint8Array<ArrayBuffer> | undefined;

/** ListenerOptions say where and what to listen to. */
export interface ListenerOptions {
  readonly protocol: number;
  readonly groups: readonly number[];
  readonly netns?: Netns | undefined;
  readonly receiveBufferBytes?: number | undefined;
  /** One datagram, valid until the call returns; it may drain again from within once it has read it. */
  readonly onDatagram: (datagram: Uint8Array) => void;
  /** Messages were lost, and the listener listens again, or will at the next `drain`. */
  readonly onOverrun: () => void;
}

/** Listener keeps its process alive until it is closed. */
export class Listener implements Disposable {
  readonly #options: ListenerOptions;
  /** A handle of our own: the caller may close its. */
  readonly #netns: Netns | undefined;
  #fd: Fd | undefined;
  #watch: Disposable | undefined;
  #closed = false;

  private constructor(options: ListenerOptions) {
    this.#options = options;
    const { netns } = options;
    if (netns !== undefined) this.#netns = Netns.adopt(duplicate(netns.fd, "netns").release(), netns.path);
    try {
      this.#listen();
    } catch (error) {
      this.#netns?.close();
      throw error;
    }
  }

  static open(options: ListenerOptions): Listener {
    return new Listener(options);
  }

  #listen(): void {
    const { protocol, groups, receiveBufferBytes } = this.#options;
    const strict = false;
    const fd = openNetlinkSocket(protocol, { netns: this.#netns, groups, receiveBufferBytes, strict });
    this.#fd = fd;
    this.#watch = watchSocket(fd, {
      onMessage: (bytes) => this.#options.onDatagram(bytes),
      onFailure: () => this.#failed(),
    });
  }

  #unlisten(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    this.#fd?.close();
    this.#fd = undefined;
  }

  /** Nobody waits for the answer in the event loop: a system that has no descriptor for us now is asked again by the next drain. */
  #failed(): void {
    try {
      this.#overrun();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#options.onOverrun();
    }
  }

  #overrun(): void {
    this.#unlisten();
    this.#listen();
    this.#options.onOverrun();
  }

  /** drain hands over, before it returns, every message that is queued now. */
  drain(): void {
    if (this.#closed) return;
    if (this.#fd === undefined) return this.#overrun();
    shared ??= stable(256 * 1024);
    while (this.#fd !== undefined) {
      let count: number;
      try {
        count = libc.recv(this.#fd.number, shared, MSG.dontWait);
      } catch (error) {
        if (!isErrno(error, "ENOBUFS")) throw error;
        return this.#overrun();
      }
      if (count <= 0) return;
      this.#options.onDatagram(shared.subarray(0, count));
    }
  }

  close(): void {
    this.#closed = true;
    this.#unlisten();
    this.#netns?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
