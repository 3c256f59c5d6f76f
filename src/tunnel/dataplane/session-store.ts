/**
 * The memory that all threads of a data plane share, and that its successor inherits: sessions, with their keys, send counters and replay
 * windows (wireguard/session.ts), and the counters of each worker.
 *
 * ```
 *      0  magic, version, generation, slots ever used (int32 each; the generation changes before workers have something new to read)
 *     64  counters of worker 0: 32 float64 │ of worker 1 │ … 64 workers
 *  65536  session 0: SESSION.bytes, and where its peer is (PLACE_BYTES) │ session 1 │ … SLOTS
 * ```
 * Sessions are mapped in pieces as they are used: the runtime counts mapped memory as its own, and would put its collections off for it.
 *
 * A slot is used again only when every thread has let go of its session: a packet under a key of zeros would be readable.
 */
import { createSharedMemory, mapSharedMemory } from "../../sys/mod.ts";
import { SESSION, type SessionMemory } from "../wireguard/mod.ts";

/** Says what the memory is, and in which form; another form is not read. */
const MAGIC = 0x43576450;
const VERSION = 2;
const GENERATION = 2;
const USED = 3;
const COUNTERS_AT = 64;
/** COUNTERS is how many numbers each worker has. */
export const COUNTERS = 32;
/** MOST_WORKERS is how many threads may share it. */
export const MOST_WORKERS = 64;
/** A page of any machine: those of arm64 are up to 64 KiB. */
const SESSIONS_AT = 65_536;
/** PLACE_BYTES is the room behind a session for the place of its peer (shared-place.ts). */
export const PLACE_BYTES = 128;
const SLOT_BYTES = SESSION.bytes + PLACE_BYTES;
/** More than three sessions for each of MAX_PEERS, and those that end. */
const SLOTS = 262_144;
/** STORE_BYTES is the size of the memory. */
export const STORE_BYTES: number = SESSIONS_AT + SLOTS * SLOT_BYTES;
/** Slots of one piece: 1,310,720 bytes, a multiple of a page. */
const PIECE_SLOTS = 1024;
const PIECE_BYTES = PIECE_SLOTS * SLOT_BYTES;

/** SessionStore maps the memory for one thread. Only the control thread takes and gives slots. */
export class SessionStore implements SessionMemory {
  readonly fd: number;
  readonly #head: ArrayBuffer;
  readonly #header: Int32Array;
  readonly #pieces: ArrayBuffer[] = [];
  readonly #pieceOf = new Map<ArrayBufferLike, number>();
  readonly #free: number[] = [];
  readonly #busy = new Set<number>();
  /** Slots that the protocol gave back, and how many threads still use them. */
  readonly #ending = new Map<number, number>();

  private constructor(fd: number) {
    this.fd = fd;
    this.#head = mapSharedMemory(fd, { bytes: STORE_BYTES, at: 0, length: SESSIONS_AT });
    this.#header = new Int32Array(this.#head, 0, 4);
  }

  /** create makes an empty one; the descriptor lives as long as the process. */
  static create(): SessionStore {
    const store = new SessionStore(createSharedMemory("causeway-sessions", STORE_BYTES).release());
    store.#header[0] = MAGIC;
    store.#header[1] = VERSION;
    return store;
  }

  /** open maps the memory behind a descriptor; RangeError if it is another kind, or of another version. */
  static open(fd: number): SessionStore {
    const store = new SessionStore(fd);
    if (store.#header[0] !== MAGIC || store.#header[1] !== VERSION)
      throw new RangeError(`The memory of descriptor ${fd} is not one of sessions of version ${VERSION}`);
    return store;
  }

  /** generation changes whenever workers have something new to read. */
  get generation(): number {
    return Atomics.load(this.#header, GENERATION);
  }

  /** change makes the generation another one. */
  change(): void {
    Atomics.add(this.#header, GENERATION, 1);
  }

  /** counters are the numbers of one worker. */
  counters(worker: number): Float64Array {
    if (worker >= MOST_WORKERS) throw new RangeError(`Worker ${worker} of ${MOST_WORKERS}`);
    return new Float64Array(this.#head, COUNTERS_AT + worker * COUNTERS * 8, COUNTERS);
  }

  /** memory is a slot. */
  memory(slot: number): Uint8Array<ArrayBuffer> {
    if (!Number.isInteger(slot) || slot < 0 || slot >= SLOTS)
      throw new RangeError(`Slot ${slot} of ${SLOTS}`);
    const piece = this.#piece(Math.floor(slot / PIECE_SLOTS));
    return new Uint8Array(piece, (slot % PIECE_SLOTS) * SLOT_BYTES, SESSION.bytes);
  }

  /** place is the room behind a slot. */
  place(slot: number): Uint8Array<ArrayBuffer> {
    const { buffer, byteOffset } = this.memory(slot);
    return new Uint8Array(buffer, byteOffset + SESSION.bytes, PLACE_BYTES);
  }

  #wipe(slot: number): void {
    this.memory(slot).fill(0);
    this.place(slot).fill(0);
  }

  #piece(index: number): ArrayBuffer {
    const known = this.#pieces[index];
    if (known !== undefined) return known;
    const at = SESSIONS_AT + index * PIECE_BYTES;
    const piece = mapSharedMemory(this.fd, { bytes: STORE_BYTES, at, length: PIECE_BYTES });
    this.#pieces[index] = piece;
    this.#pieceOf.set(piece, index);
    return piece;
  }

  /** slotOf tells which slot a memory of this store is. */
  slotOf(memory: Uint8Array<ArrayBufferLike>): number {
    const piece = this.#pieceOf.get(memory.buffer);
    if (piece === undefined) throw new RangeError("A memory that is not of this store");
    return piece * PIECE_SLOTS + memory.byteOffset / SLOT_BYTES;
  }

  take(): Uint8Array<ArrayBuffer> {
    // The lowest ones again and again, so that few pages are touched.
    const slot = this.#free.pop() ?? Atomics.add(this.#header, USED, 1);
    const memory = this.memory(slot);
    this.#wipe(slot);
    this.#busy.add(slot);
    return memory;
  }

  /** claim marks a slot as used that a predecessor took; false if it is not that of the session. */
  claim(slot: number, localIndex: number): boolean {
    const memory = this.memory(slot);
    const index = new DataView(memory.buffer, memory.byteOffset).getUint32(SESSION.localIndex, true);
    if (index !== localIndex || this.#busy.has(slot)) return false;
    this.#busy.add(slot);
    return true;
  }

  /** sweep wipes what a predecessor used and nobody claimed, and has it ready to be taken. */
  sweep(): void {
    this.#free.length = 0;
    for (let slot = Math.min(this.#header[USED] as number, SLOTS) - 1; slot >= 0; slot--)
      if (!this.#busy.has(slot)) {
        this.#wipe(slot);
        this.#free.push(slot);
      }
  }

  /** hold makes `give` of a slot wait for so many calls of `letGo`. */
  hold(slot: number, threads: number): void {
    this.#ending.set(slot, (this.#ending.get(slot) ?? 1) + threads);
  }

  give(memory: Uint8Array<ArrayBufferLike>): void {
    this.letGo(this.slotOf(memory));
  }

  /** letGo notes that one thread, or the protocol, does not use a slot any more. */
  letGo(slot: number): void {
    const left = (this.#ending.get(slot) ?? 1) - 1;
    if (left > 0) {
      this.#ending.set(slot, left);
      return;
    }
    this.#ending.delete(slot);
    if (!this.#busy.delete(slot)) return;
    this.#wipe(slot);
    this.#free.push(slot);
  }
}
