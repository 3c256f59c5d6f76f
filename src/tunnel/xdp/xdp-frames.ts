/**
 * The frames of a UMEM, and where each of them is: exactly one place at a time.
 *
 * ```
 *        take               send               completion
 *  free ────────▶ held ─────────────▶ transmit ────────────▶ free
 *   │   ◀────────                        ▲
 *   │     give                           │ send
 *   └──────────▶ fill ────────▶ received ─┴────────────────▶ free
 *     refill          receive               next receive
 * ```
 * `fill` and `transmit` are the kernel's, of one socket, and `received` is that socket's last batch: whatever a ring says of a frame is believed only if the frame is there by this
 * account. A frame that the kernel never gives back stays in its account, so that nobody uses it twice.
 */
import type { Arena, UmemArea } from "../../sys/mod.ts";

/** PLACE has the places of a frame; from `received` on they are one socket's, whose number is in the bits above. */
const PLACE = { free: 0, held: 1, received: 2, fill: 3, transmit: 4 } as const;
const SOCKET_SHIFT = 3;
const KIND = 7;

/** MOST_SOCKETS may share one UMEM. */
export const MOST_SOCKETS = 32;

/** FramesOptions say how much memory frames take. */
export interface FramesOptions {
  readonly frames: number;
  /** Default 2048: room for 1500 bytes of IP and 256 of the kernel's headroom. */
  readonly frameBytes?: 2048 | 4096;
  /** Default 0. */
  readonly headroomBytes?: number;
}

/** FrameCensus counts frames by place. */
export interface FrameCensus {
  readonly free: number;
  readonly held: number;
  readonly received: number;
  readonly fill: number;
  readonly transmit: number;
}

/** The kernel's own headroom before each frame that is received (XDP_PACKET_HEADROOM). */
const KERNEL_HEADROOM = 256;

/** XdpFrames makes no objects after it was made. One thread uses it, and all its sockets. */
export class XdpFrames implements UmemArea {
  readonly arena: Arena;
  readonly at: number;
  readonly frames: number;
  readonly frameBytes: 2048 | 4096;
  readonly headroomBytes: number;
  /** What fits into a frame behind the headrooms. */
  readonly roomBytes: number;
  readonly #shift: number;
  readonly #places: Uint8Array;
  readonly #free: Int32Array;
  #freeCount: number;
  #sockets = 0;

  constructor(arena: Arena, options: FramesOptions) {
    this.arena = arena;
    this.frames = options.frames;
    this.frameBytes = options.frameBytes ?? 2048;
    this.headroomBytes = options.headroomBytes ?? 0;
    this.#shift = this.frameBytes === 4096 ? 12 : 11;
    this.roomBytes = this.frameBytes - KERNEL_HEADROOM - this.headroomBytes;
    if (!Number.isInteger(this.frames) || this.frames <= 0)
      throw new RangeError(`A UMEM of ${this.frames} frames`);
    if (!Number.isInteger(this.headroomBytes) || this.headroomBytes < 0 || this.roomBytes < 64)
      throw new RangeError(`A headroom of ${this.headroomBytes} bytes in frames of ${this.frameBytes}`);
    this.at = arena.allocatePages(this.frames * this.frameBytes);
    this.#places = new Uint8Array(this.frames);
    // The lowest is taken first.
    this.#free = Int32Array.from({ length: this.frames }, (_, i) => this.frames - 1 - i);
    this.#freeCount = this.frames;
  }

  /** enrol returns the number of one more socket. */
  enrol(): number {
    if (this.#sockets === MOST_SOCKETS)
      throw new RangeError(`At most ${MOST_SOCKETS} sockets can share a UMEM`);
    return this.#sockets++;
  }

  get free(): number {
    return this.#freeCount;
  }

  /** take returns the offset of the room of a free frame, behind the headroom; 0 if there is none. It is held then. */
  take(): number {
    if (this.#freeCount === 0) return 0;
    const frame = this.#free[--this.#freeCount] as number;
    this.#places[frame] = PLACE.held;
    return this.at + (frame << this.#shift) + KERNEL_HEADROOM + this.headroomBytes;
  }

  /** give makes the held frame around an offset free. */
  give(at: number): void {
    if (!this.#is(at, PLACE.held)) throw new RangeError(`Offset ${at} is in no frame that is held`);
    this.#release((at - this.at) >> this.#shift);
  }

  /** mayUse tells whether an offset lies in a frame that is ours to work on: held, or received by any socket. */
  mayUse(at: number): boolean {
    return this.#is(at, PLACE.held) || this.#is(at, PLACE.received);
  }

  #is(at: number, kind: number): boolean {
    // Outside there is nothing, and nothing is in no place.
    return at >= this.at && ((this.#places[(at - this.at) >> this.#shift] ?? PLACE.free) & KIND) === kind;
  }

  /** roomAt returns how many bytes there are from an offset to the end of its frame. */
  roomAt(at: number): number {
    return this.frameBytes - ((at - this.at) & (this.frameBytes - 1));
  }

  /** headAt returns how many bytes there are before an offset in its frame. */
  headAt(at: number): number {
    return (at - this.at) & (this.frameBytes - 1);
  }

  /** toTransmit moves the frame around an offset, which must be ours to work on, into the transmit ring of a socket; returns the address. */
  toTransmit(at: number, socket: number): number {
    if (!this.mayUse(at)) throw new RangeError(`Offset ${at} is in no frame that is held or received`);
    this.#places[(at - this.at) >> this.#shift] = PLACE.transmit | (socket << SOCKET_SHIFT);
    return at - this.at;
  }

  /** toFill moves a free frame into the fill ring of a socket and returns its address in the UMEM; -1 if none is free. */
  toFill(socket: number): number {
    if (this.#freeCount === 0) return -1;
    const frame = this.#free[--this.#freeCount] as number;
    this.#places[frame] = PLACE.fill | (socket << SOCKET_SHIFT);
    return frame << this.#shift;
  }

  /**
   * fromFill takes what a receive ring says: `length` bytes at an address. Returns their offset, and the frame is received; or -1 if that
   * cannot be: outside, over the end of its frame, or in one that was not in the fill ring.
   */
  fromFill(address: number, length: number, socket: number): number {
    const frame = address >> this.#shift;
    const within = address & (this.frameBytes - 1);
    if (address < 0 || length <= 0 || within + length > this.frameBytes) return -1;
    if (this.#places[frame] !== (PLACE.fill | (socket << SOCKET_SHIFT))) return -1;
    this.#places[frame] = PLACE.received | (socket << SOCKET_SHIFT);
    return this.at + address;
  }

  /** drop makes the frame around an offset free if it is still where this socket received it: it may have been sent since. */
  drop(at: number, socket: number): void {
    const frame = (at - this.at) >> this.#shift;
    if (this.#places[frame] === (PLACE.received | (socket << SOCKET_SHIFT))) this.#release(frame);
  }

  /** fromTransmit takes what a completion ring says: the frame is free; false if it was not sent by this socket. */
  fromTransmit(address: number, socket: number): boolean {
    const frame = address >> this.#shift;
    if (address < 0 || this.#places[frame] !== (PLACE.transmit | (socket << SOCKET_SHIFT))) return false;
    this.#release(frame);
    return true;
  }

  /** reclaim makes all frames free that a socket's rings have; only after it was closed, when the kernel cannot touch them. */
  reclaim(socket: number): void {
    for (let frame = 0; frame < this.frames; frame++) {
      const place = this.#places[frame] as number;
      if (place >>> SOCKET_SHIFT === socket && (place & KIND) >= PLACE.received) this.#release(frame);
    }
  }

  #release(frame: number): void {
    this.#places[frame] = PLACE.free;
    this.#free[this.#freeCount++] = frame;
  }

  /** census counts all frames, or only those of one socket and the free and held ones; throws if the list of free ones does not agree. */
  census(socket?: number): FrameCensus {
    const counts = [0, 0, 0, 0, 0];
    for (const place of this.#places) {
      const kind = place & KIND;
      const isAsked = kind < PLACE.received || socket === undefined || place >>> SOCKET_SHIFT === socket;
      if (isAsked) counts[kind] = (counts[kind] as number) + 1;
    }
    const listed = new Set(this.#free.subarray(0, this.#freeCount));
    const agrees = [...listed].every((frame) => this.#places[frame] === PLACE.free);
    if (listed.size !== this.#freeCount || counts[PLACE.free] !== this.#freeCount || !agrees)
      throw new Error("The list of free frames does not agree with their places");
    const [free, held, received, fill, transmit] = counts as [number, number, number, number, number];
    return { free, held, received, fill, transmit };
  }
}
