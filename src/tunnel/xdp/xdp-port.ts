/**
 * One queue of one interface as a port: frames come and go in batches, each in exactly one place (xdp-frames.ts).
 *
 * ```
 * receive ─▶ a batch, worked on in place ─▶ send, by this port or another of the same UMEM ─▶ flush
 *                        └─ what was not sent is free again at the next `receive`
 * ```
 * Nothing is queued but in the rings. While they are full there is no room, and the kernel drops what it cannot deliver and counts it.
 */
import { type Fd, type XdpSocketOptions, XdpSocket } from "../../sys/mod.ts";
import type { XdpFrames } from "./xdp-frames.ts";

/** MOST_RECEIVED frames are one batch. */
export const MOST_RECEIVED = 64;
/** MOST_IGNORED batches without a frame for us are looked at in a row: who floods with such must not keep a thread from everything else. */
export const MOST_IGNORED = 32;

const ENXIO = 6;
const ENETDOWN = 100;
/** The shortest frame that is one: an Ethernet header. */
const LEAST_FRAME = 14;

/** XdpPortOptions say which queue, and how many frames may wait where. */
export interface XdpPortOptions extends Pick<
  XdpSocketOptions,
  "ifindex" | "queue" | "netns" | "zeroCopy" | "needWakeup"
> {
  /** A port whose UMEM this one uses too; `frames` must be the same. */
  readonly share?: XdpPort;
  /** Entries of the rings, powers of two: frames that may wait to be received, and to be sent. Default 1024 each. */
  readonly receive?: number;
  readonly transmit?: number;
  /** Free frames that are not lent to the kernel for receiving, so that there is something to send with; default as `transmit`. */
  readonly reserve?: number;
}

/** PortLosses are frames that the system dropped: before they could be received, and after they were sent. */
export interface PortLosses {
  /** Longer than the memory of a frame. */
  readonly tooLong: number;
  /** No memory of a frame was free, or no place in a queue. */
  readonly noRoom: number;
  /** Of those that `send` took: too long for the interface, no room in its queue, or it was down. */
  readonly unsent: number;
  readonly unsentBytes: number;
}

/** XdpPort owns the socket. Its methods make no objects. */
export class XdpPort implements Disposable {
  readonly frames: XdpFrames;
  readonly socket: XdpSocket;
  /** Frames that came and went; descriptors of the kernel that could not be right. */
  received = 0;
  sent = 0;
  garbled = 0;
  /** Whether the interface was removed: nothing will ever come again. */
  gone = false;
  readonly #number: number;
  readonly #reserve: number;
  readonly #at = new Int32Array(MOST_RECEIVED);
  readonly #bytes = new Int32Array(MOST_RECEIVED);
  #batch = 0;
  /** Whether frames were put that the kernel has not been shown. */
  #isPut = false;
  /** Room in the transmit ring as far as known: there is at least so much. */
  #room: number;
  #isDown = false;
  #waits = false;

  constructor(frames: XdpFrames, options: XdpPortOptions) {
    const { share, receive = 1024, transmit = 1024 } = options;
    if (share !== undefined && share.frames !== frames)
      throw new RangeError("Cannot share a UMEM: the ports have different frames");
    this.frames = frames;
    this.#reserve = options.reserve ?? transmit;
    if (this.#reserve >= frames.frames)
      throw new RangeError(
        `A UMEM of ${frames.frames} frames leaves none to receive with a reserve of ${this.#reserve}; give it more`,
      );
    const { ifindex, queue, netns, zeroCopy, needWakeup } = options;
    this.socket = XdpSocket.open({
      ifindex,
      queue,
      zeroCopy,
      umem: frames,
      receive,
      transmit,
      // All that can wait in the other rings.
      fill: receive,
      completion: transmit,
      ...(netns === undefined ? {} : { netns }),
      ...(needWakeup === undefined ? {} : { needWakeup }),
      ...(share === undefined ? {} : { share: share.socket }),
    });
    this.#number = frames.enrol();
    this.#room = transmit;
    this.refill();
  }

  /** The socket's number in the accounts of `frames`. */
  get number(): number {
    return this.#number;
  }

  /** The descriptor to wait for, and to add to the program's map (XdpInterface.add). */
  get fd(): Fd {
    return this.socket.fd;
  }

  /** blocked tells whether frames wait that the kernel has not taken: call `flush` again in a while. */
  get blocked(): boolean {
    return this.#waits;
  }

  /** refill lends free frames to the kernel to receive into. */
  refill(): void {
    const { fill } = this.socket;
    const count = Math.min(fill.room(), this.frames.free - this.#reserve);
    if (count <= 0) return;
    for (let i = 0; i < count; i++) fill.putAddress(this.frames.toFill(this.#number));
    fill.submit();
    // Only drivers without a copy ask for it.
    if (fill.needsWakeup) this.#hear(this.socket.wakeReceive());
  }

  /** receive brings what is there, without waiting, and returns how many frames; the ones before are gone, but for those that were sent. */
  receive(): number {
    const { frames } = this;
    for (let i = 0; i < this.#batch; i++) frames.drop(this.#at[i] as number, this.#number);
    this.#batch = 0;
    this.collect();
    const ring = this.socket.receive;
    const count = Math.min(ring.available(), MOST_RECEIVED);
    for (let i = 0; i < count; i++) {
      const bytes = ring.length(i);
      const at = frames.fromFill(ring.address(i), bytes, this.#number);
      if (at < 0) {
        this.garbled++;
        continue;
      }
      this.#at[this.#batch] = at;
      this.#bytes[this.#batch++] = bytes;
    }
    if (count > 0) ring.release(count);
    this.refill();
    this.received += this.#batch;
    return this.#batch;
  }

  /** at is the offset of a frame of the batch: of its Ethernet header. */
  at(index: number): number {
    return this.#at[index] as number;
  }

  /** bytes is its length. */
  bytes(index: number): number {
    return this.#bytes[index] as number;
  }

  /** hasRoom tells whether one more frame can be sent before a `flush`. */
  get hasRoom(): boolean {
    if (this.#room > 0) return true;
    this.#room = this.socket.transmit.room();
    return this.#room > 0;
  }

  /**
   * send puts `bytes` at an offset in a frame that is held, or was received, into the ring; the next `flush` shows them to the kernel. False
   * when there is no room: the frame stays where it is.
   */
  send(at: number, bytes: number): boolean {
    const { frames } = this;
    // The kernel would skip such a descriptor, and never give the frame back. Written so that NaN fails as well.
    if (!(bytes >= LEAST_FRAME && bytes <= frames.roomAt(at)))
      throw new RangeError(`A frame of ${bytes} bytes at ${at}`);
    if (!this.hasRoom) return false;
    this.socket.transmit.putDescriptor(frames.toTransmit(at, this.#number), bytes);
    this.#room--;
    this.#isPut = true;
    this.sent++;
    return true;
  }

  /** flush makes the kernel take what was sent; false when it does not take all of it now. */
  flush(): boolean {
    const { transmit, zeroCopy } = this.socket;
    if (this.#isPut) {
      transmit.submit();
      this.#isPut = false;
    }
    let waiting = transmit.waiting();
    // Copy mode sends a few frames with each call (TX_BATCH_SIZE of net/xdp/xsk.c), and needs room in the completion ring.
    while (waiting > 0 && transmit.needsWakeup) {
      if (!this.#hear(this.socket.wakeTransmit())) break;
      const completed = this.collect();
      const before = waiting;
      waiting = transmit.waiting();
      if (zeroCopy || (waiting >= before && completed === 0)) break;
    }
    this.#room = transmit.entries - waiting;
    this.collect();
    this.#waits = zeroCopy ? this.#room === 0 : waiting > 0 && !this.#isDown;
    return !this.#waits;
  }

  /** isDown tells whether the kernel refused to send because the interface is down: what finds no room then is to be dropped. */
  get isDown(): boolean {
    return this.#isDown || this.gone;
  }

  /** collect takes back frames that were sent, and returns how many. */
  collect(): number {
    const ring = this.socket.completion;
    const count = ring.available();
    if (count === 0) return 0;
    for (let i = 0; i < count; i++)
      if (!this.frames.fromTransmit(ring.address(i), this.#number)) this.garbled++;
    ring.release(count);
    return count;
  }

  /** check asks whether the interface is still there; poll(2) does not tell of its removal. */
  check(): void {
    this.#hear(this.socket.wakeReceive());
  }

  /** lost asks the kernel what it dropped; what a driver drops of what it took is the interface's affair. */
  lost(): PortLosses {
    const { receiveDropped, receiveRingFull, fillRingEmpty } = this.socket.statistics();
    return {
      // A frame for which there is no memory counts as dropped too (xsk_rcv and xp_alloc of net/xdp).
      tooLong: Math.max(0, receiveDropped - fillRingEmpty),
      noRoom: receiveRingFull + fillRingEmpty,
      unsent: 0,
      unsentBytes: 0,
    };
  }

  /** Remembers what a call says of the interface; false if it is of no use now. */
  #hear(result: number): boolean {
    this.#isDown = result === -ENETDOWN;
    if (result === -ENXIO) this.gone = true;
    return !this.isDown;
  }

  /** close closes the socket; its frames, which the kernel can touch no more, are free. */
  close(): void {
    if (this.socket.fd.closed) return;
    this.socket.close();
    this.#batch = 0;
    this.frames.reclaim(this.#number);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
