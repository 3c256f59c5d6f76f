/**
 * Frames and ports in memory: what one end of a pipe sends the other receives, without a copy, as a gateway's ports of one UMEM do.
 *
 * Each frame is in one place: free, held, on its way, or received by one port, whose next `receive` makes it free unless it was sent on.
 */
import type { Arena } from "../../src/sys/mod.ts";
import type { FramePort } from "../../src/tunnel/gateway/mod.ts";

const PLACE = { free: 0, held: -1, queued: -2 } as const;
const HEADROOM = 256;
const BATCH = 64;
const QUEUE = 1024;

/** MemoryFrames are so many frames in an arena; in a guarded one each ends at a guard page. */
export class MemoryFrames {
  readonly arena: Arena;
  readonly frameBytes: number;
  readonly roomBytes: number;
  readonly #at: number;
  readonly #shift: number;
  /** From one guarded frame to the next; 0 where they lie side by side. */
  readonly #stride: number;
  readonly #places: Int8Array;
  readonly #free: Int32Array;
  free: number;
  #ports = 0;

  constructor(arena: Arena, options: { readonly frames: number; readonly frameBytes?: 2048 | 4096 }) {
    this.arena = arena;
    this.frameBytes = options.frameBytes ?? 2048;
    this.roomBytes = this.frameBytes - HEADROOM;
    this.#shift = Math.log2(this.frameBytes);
    if (arena.guarded) {
      const all = Array.from({ length: options.frames }, () => arena.allocate(this.frameBytes));
      this.#at = all[0] as number;
      this.#stride = (all[1] as number) - this.#at;
    } else {
      this.#at = arena.allocatePages(options.frames * this.frameBytes);
      this.#stride = 0;
    }
    this.#places = new Int8Array(options.frames);
    this.#free = Int32Array.from({ length: options.frames }, (_, i) => options.frames - 1 - i);
    this.free = options.frames;
  }

  enrol(): number {
    return ++this.#ports;
  }

  #frame(at: number): number {
    return this.#stride === 0 ? (at - this.#at) >> this.#shift : Math.floor((at - this.#at) / this.#stride);
  }

  #start(frame: number): number {
    return this.#at + (this.#stride === 0 ? frame << this.#shift : frame * this.#stride);
  }

  take(): number {
    if (this.free === 0) return 0;
    const frame = this.#free[--this.free] as number;
    this.#places[frame] = PLACE.held;
    return this.#start(frame) + HEADROOM;
  }

  give(at: number): void {
    this.release(at, PLACE.held);
  }

  roomAt(at: number): number {
    return this.frameBytes - (at - this.#start(this.#frame(at)));
  }

  /** Makes a frame free if it is in this place. */
  release(at: number, place: number): void {
    const frame = this.#frame(at);
    if (this.#places[frame] !== place) return;
    this.#places[frame] = PLACE.free;
    this.#free[this.free++] = frame;
  }

  /** Puts a frame into another place; it must be held or received. */
  queue(at: number): void {
    const frame = this.#frame(at);
    const place = this.#places[frame] as number;
    if (place !== PLACE.held && place <= 0) throw new RangeError(`Offset ${at} is in no frame of ours`);
    this.#places[frame] = PLACE.queued;
  }

  receive(at: number, port: number): void {
    this.#places[this.#frame(at)] = port;
  }
}

/** PipeEnd is a port; `joined` makes two. */
export class PipeEnd implements FramePort {
  readonly frames: MemoryFrames;
  /** Frames that wait to be received here. */
  waiting = 0;
  /** How many frames may wait at the other end. */
  room = QUEUE;
  #other: PipeEnd;
  readonly #number: number;
  readonly #queueAt = new Int32Array(QUEUE);
  readonly #queueBytes = new Int32Array(QUEUE);
  #first = 0;
  readonly #at = new Int32Array(BATCH);
  readonly #bytes = new Int32Array(BATCH);
  #batch = 0;

  constructor(frames: MemoryFrames) {
    this.frames = frames;
    this.#number = frames.enrol();
    this.#other = this;
  }

  /** joined returns the two ends of a pipe. */
  static joined(frames: MemoryFrames): readonly [PipeEnd, PipeEnd] {
    const [one, other] = [new PipeEnd(frames), new PipeEnd(frames)];
    one.#other = other;
    other.#other = one;
    return [one, other];
  }

  receive(): number {
    for (let i = 0; i < this.#batch; i++) this.frames.release(this.#at[i] as number, this.#number);
    const count = Math.min(BATCH, this.waiting);
    for (let i = 0; i < count; i++) {
      const at = this.#queueAt[this.#first] as number;
      this.#at[i] = at;
      this.#bytes[i] = this.#queueBytes[this.#first] as number;
      this.frames.receive(at, this.#number);
      this.#first = (this.#first + 1) & (QUEUE - 1);
    }
    this.waiting -= count;
    this.#batch = count;
    return count;
  }

  at(index: number): number {
    return this.#at[index] as number;
  }

  bytes(index: number): number {
    return this.#bytes[index] as number;
  }

  send(at: number, bytes: number): boolean {
    const other = this.#other;
    if (other.waiting >= this.room) return false;
    if (bytes > this.frames.roomAt(at)) throw new RangeError(`A frame of ${bytes} bytes at ${at}`);
    this.frames.queue(at);
    const index = (other.#first + other.waiting++) & (QUEUE - 1);
    other.#queueAt[index] = at;
    other.#queueBytes[index] = bytes;
    return true;
  }

  flush(): boolean {
    return true;
  }

  /** put sends a copy of bytes, behind the headroom or at the end of a frame; false when there is no frame or no room. */
  put(bytes: Uint8Array, isAtEnd = false): boolean {
    const taken = this.frames.take();
    if (taken === 0) return false;
    const at = isAtEnd ? taken + this.frames.roomAt(taken) - bytes.length : taken;
    this.frames.arena.store(at, bytes);
    if (this.send(at, bytes.length)) return true;
    this.frames.give(at);
    return false;
  }

  /** taken returns copies of all frames that have come. */
  taken(): Uint8Array<ArrayBuffer>[] {
    const frames: Uint8Array<ArrayBuffer>[] = [];
    for (let count = this.receive(); count > 0; count = this.receive())
      for (let i = 0; i < count; i++) frames.push(this.frames.arena.copy(this.at(i), this.bytes(i)));
    return frames;
  }
}
