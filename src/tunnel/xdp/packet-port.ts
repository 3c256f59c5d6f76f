/**
 * One queue of one interface as a port, by a packet socket: on any interface, where AF_XDP is not there. Frames lie in the same memory as those
 * of XdpPort, and what it receives another port of that memory can send.
 *
 * ```
 * receive ─▶ recvmmsg into frames that were lent, a batch of at most 64     flush ─▶ sendmmsg of what was sent; the kernel copies, so
 *    └▶ longer than a frame: its beginning, apart (`cuts`)                            the frames are free at once
 * ```
 * It costs a copy each way and the kernel's way to and from packet sockets.
 */
import {
  type Arena,
  type Fd,
  PacketSocket,
  type PacketSocketOptions,
  receiveMessages,
  sendMessages,
  SIZE,
} from "../../sys/mod.ts";
import { layData, MESSAGE_HEADER } from "../path/message-header.ts";
import type { XdpFrames } from "./xdp-frames.ts";
import { MOST_RECEIVED, type PortLosses } from "./xdp-port.ts";

/** Frames that wait to be sent. */
const MOST_WAITING = 1024;
/** Messages of one sendmmsg. */
const MOST_SENT = 64;
/** The kernel's headroom in a frame of AF_XDP, so that frames are alike. */
const HEADROOM = 256;
const LEAST_FRAME = 14;
const MSG_TRUNC = 0x20;
const ENXIO = 6;
const EAGAIN = 11;
const ENODEV = 19;
const ENETDOWN = 100;

/** FrameSocket gives and takes frames, one a message, without waiting: a PacketSocket, or an end of a socket pair. */
export type FrameSocket = Pick<PacketSocket, "fd" | "isBound" | "dropped" | "close">;

/** PacketPort owns the socket. Its methods make no objects, but for `check` and `lost`. */
export class PacketPort implements Disposable {
  readonly frames: XdpFrames;
  /** Frames that came and went. */
  received = 0;
  sent = 0;
  /** Whether the interface was removed: nothing will ever come again. */
  gone = false;
  /** How many of the last batch were longer than a frame. */
  cuts = 0;
  readonly #arena: Arena;
  readonly #socket: FrameSocket;
  readonly #number: number;
  /** Headers and vectors: of receiving, of sending. */
  readonly #incoming: number;
  readonly #outgoing: number;
  /** Of each message of `#incoming`, the address in the UMEM of the frame that was lent; those from `#first` on have one. */
  readonly #lent = new Int32Array(MOST_RECEIVED);
  #first = MOST_RECEIVED;
  readonly #at = new Int32Array(MOST_RECEIVED);
  readonly #bytes = new Int32Array(MOST_RECEIVED);
  #batch = 0;
  readonly #cutAt = new Int32Array(MOST_RECEIVED);
  #cutTotal = 0;
  #unsent = 0;
  #unsentBytes = 0;
  readonly #waitingAt = new Int32Array(MOST_WAITING);
  readonly #waitingBytes = new Int32Array(MOST_WAITING);
  #waiting = 0;
  #isDown = false;

  /** Of a packet socket that it opens, or of one that it is given. */
  constructor(frames: XdpFrames, options: PacketSocketOptions | FrameSocket) {
    this.frames = frames;
    this.#arena = frames.arena;
    const messageBytes = SIZE.mmsghdr + SIZE.iovec;
    this.#incoming = frames.arena.allocate(MOST_RECEIVED * messageBytes);
    this.#outgoing = frames.arena.allocate(MOST_SENT * messageBytes);
    this.#socket = "fd" in options ? options : PacketSocket.open(options);
    this.#number = frames.enrol();
  }

  get fd(): Fd {
    return this.#socket.fd;
  }

  /** blocked tells whether frames wait that the kernel has not taken: call `flush` again in a while. */
  get blocked(): boolean {
    return this.#waiting > 0;
  }

  /** isDown tells whether the interface is down: what is sent is dropped. */
  get isDown(): boolean {
    return this.#isDown || this.gone;
  }

  /** receive brings what is there, without waiting, and returns how many frames; the ones before are gone, but for those that were sent. */
  receive(): number {
    const { frames } = this;
    for (let i = 0; i < this.#batch; i++) frames.drop(this.#at[i] as number, this.#number);
    for (let i = 0; i < this.cuts; i++) frames.drop(this.#cutAt[i] as number, this.#number);
    this.#batch = this.cuts = 0;
    this.#lend();
    const first = this.#first;
    if (first === MOST_RECEIVED) return 0;
    const arena = this.#arena;
    const messages = this.#incoming + first * SIZE.mmsghdr;
    const count = receiveMessages(this.fd.number, arena, messages, MOST_RECEIVED - first);
    if (count <= 0) {
      if (isGone(count)) this.gone = true;
      return 0;
    }
    this.#isDown = false;
    for (let i = first; i < first + count; i++) this.#take(i);
    this.#first = first + count;
    this.received += this.#batch;
    return this.#batch;
  }

  /** Lends free frames to the messages that have none. */
  #lend(): void {
    const { frames } = this;
    const vectors = this.#incoming + MOST_RECEIVED * SIZE.mmsghdr;
    while (this.#first > 0) {
      const address = frames.toFill(this.#number);
      if (address < 0) return;
      const i = --this.#first;
      this.#lent[i] = address;
      const header = this.#incoming + i * SIZE.mmsghdr;
      layData(
        this.#arena,
        header,
        vectors + i * SIZE.iovec,
        frames.at + address + HEADROOM,
        frames.roomBytes,
      );
    }
  }

  /** Takes what came by one message. */
  #take(index: number): void {
    const { u32 } = this.#arena;
    const header = this.#incoming + index * SIZE.mmsghdr;
    const bytes = u32[(header + MESSAGE_HEADER.bytes) >>> 2] as number;
    const at = this.frames.fromFill((this.#lent[index] as number) + HEADROOM, bytes, this.#number);
    if (at < 0) throw new RangeError(`A frame of ${bytes} bytes was received`);
    if (((u32[(header + MESSAGE_HEADER.flags) >>> 2] as number) & MSG_TRUNC) !== 0) {
      this.#cutAt[this.cuts++] = at;
      this.#cutTotal++;
      return;
    }
    this.#at[this.#batch] = at;
    this.#bytes[this.#batch++] = bytes;
  }

  /** at is the offset of a frame of the batch: of its Ethernet header. */
  at(index: number): number {
    return this.#at[index] as number;
  }

  /** bytes is its length. */
  bytes(index: number): number {
    return this.#bytes[index] as number;
  }

  /** cutAt is the offset of a frame that was longer than frames are; `frames.roomBytes` of it are there. */
  cutAt(index: number): number {
    return this.#cutAt[index] as number;
  }

  /** send takes over the frame around an offset: `bytes` from there on; false when too many wait, and the frame stays where it is. */
  send(at: number, bytes: number): boolean {
    const { frames } = this;
    // Written so that NaN fails as well.
    if (!(bytes >= LEAST_FRAME && bytes <= frames.roomAt(at)))
      throw new RangeError(`A frame of ${bytes} bytes at ${at}`);
    if (this.#waiting === MOST_WAITING) return false;
    this.#waitingAt[this.#waiting] = frames.toTransmit(at, this.#number);
    this.#waitingBytes[this.#waiting++] = bytes;
    return true;
  }

  /** flush makes the kernel take what was sent; false when it does not take all of it now. */
  flush(): boolean {
    let done = 0;
    while (done < this.#waiting) {
      const count = Math.min(MOST_SENT, this.#waiting - done);
      let taken = this.#transmit(done, count);
      // Told once even if the interface is up again by now.
      if (taken === -ENETDOWN) taken = this.#transmit(done, count);
      if (taken > 0) {
        this.#isDown = false;
        this.sent += taken;
        this.#free(done, taken);
        done += taken;
        continue;
      }
      if (taken === -EAGAIN) break;
      this.#isDown = taken === -ENETDOWN;
      if (isGone(taken)) this.gone = true;
      // The first: too long (EMSGSIZE), or dropped by the interface's queue (ENOBUFS). While the interface is down, all.
      const lost = this.isDown ? this.#waiting - done : 1;
      this.#unsent += lost;
      for (let i = done; i < done + lost; i++) this.#unsentBytes += this.#waitingBytes[i] as number;
      this.#free(done, lost);
      done += lost;
    }
    this.#waitingAt.copyWithin(0, done, this.#waiting);
    this.#waitingBytes.copyWithin(0, done, this.#waiting);
    this.#waiting -= done;
    return this.#waiting === 0;
  }

  #transmit(from: number, count: number): number {
    const arena = this.#arena;
    const vectors = this.#outgoing + MOST_SENT * SIZE.mmsghdr;
    for (let i = 0; i < count; i++) {
      const at = this.frames.at + (this.#waitingAt[from + i] as number);
      const bytes = this.#waitingBytes[from + i] as number;
      layData(arena, this.#outgoing + i * SIZE.mmsghdr, vectors + i * SIZE.iovec, at, bytes);
    }
    return sendMessages(this.fd.number, arena, this.#outgoing, count);
  }

  #free(from: number, count: number): void {
    for (let i = from; i < from + count; i++)
      this.frames.fromTransmit(this.#waitingAt[i] as number, this.#number);
  }

  /** check asks whether the interface is still there. */
  check(): void {
    if (!this.#socket.isBound()) this.gone = true;
  }

  /** lost asks the kernel what it dropped. */
  lost(): PortLosses {
    return {
      tooLong: this.#cutTotal,
      noRoom: this.#socket.dropped(),
      unsent: this.#unsent,
      unsentBytes: this.#unsentBytes,
    };
  }

  /** close closes the socket; its frames are free. */
  close(): void {
    if (this.fd.closed) return;
    this.#socket.close();
    this.#batch = this.cuts = this.#waiting = 0;
    this.#first = MOST_RECEIVED;
    this.frames.reclaim(this.#number);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Whether a call says that the interface was removed. */
const isGone = (result: number) => result === -ENXIO || result === -ENODEV;
