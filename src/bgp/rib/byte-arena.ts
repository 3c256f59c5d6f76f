/**
 * ByteArena: room for many short byte strings, without an object for each. Memory comes in chunks that never move; freed pieces
 * wait in lists by size. A place is a reference in units of four bytes, so that 32 bits reach 16 GiB.
 */
const CHUNK_SHIFT = 18;
/** In units of four bytes: one MiB. */
const CHUNK_UNITS = 1 << CHUNK_SHIFT;
const UNIT_MASK = CHUNK_UNITS - 1;
/** Up to this many units (512 bytes) each size has a class of its own; above, four classes for each doubling. */
const EXACT_UNITS = 128;
/** The largest piece, in bytes: an attribute set of an extended message, with its length. */
export const MOST_PIECE_BYTES = 65_540;

/** ByteArena owns the chunks. */
export class ByteArena {
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  /** First free piece of each class, 0 for none; a free piece begins with the next one. */
  readonly #free: Uint32Array;
  #next = 1;
  #used = 0;

  constructor() {
    this.#free = new Uint32Array(classOf(MOST_PIECE_BYTES >>> 2) + 1);
  }

  /** How many bytes are given out. */
  get usedBytes(): number {
    return this.#used;
  }

  /** allocate returns a reference, never 0, to room for `bytes`, whose contents are whatever was there. */
  allocate(bytes: number): number {
    const units = (bytes + 3) >>> 2;
    const kind = classOf(units);
    const room = unitsOf(kind);
    this.#used += room << 2;
    const free = this.#free[kind] as number;
    if (free !== 0) {
      this.#free[kind] = read32(this.chunk(free), offsetOf(free));
      return free;
    }
    // A piece does not lie across two chunks.
    if ((this.#next & UNIT_MASK) + room > CHUNK_UNITS)
      this.#next = ((this.#next >>> CHUNK_SHIFT) + 1) * CHUNK_UNITS;
    const at = this.#next;
    if (at >>> CHUNK_SHIFT >= this.#chunks.length) this.#chunks.push(new Uint8Array(CHUNK_UNITS << 2));
    this.#next = at + room;
    return at;
  }

  /** free gives a piece back; `bytes` is what it was allocated with. */
  free(reference: number, bytes: number): void {
    const kind = classOf((bytes + 3) >>> 2);
    this.#used -= unitsOf(kind) << 2;
    write32(this.chunk(reference), offsetOf(reference), this.#free[kind] as number);
    this.#free[kind] = reference;
  }

  /** chunk is the memory that a reference leads into, at `offsetOf(reference)`. */
  chunk(reference: number): Uint8Array<ArrayBuffer> {
    return this.#chunks[reference >>> CHUNK_SHIFT] as Uint8Array<ArrayBuffer>;
  }
}

/** offsetOf is where in its chunk a reference leads. */
export function offsetOf(reference: number): number {
  return (reference & UNIT_MASK) << 2;
}

function classOf(units: number): number {
  if (units <= EXACT_UNITS) return units;
  const shift = 29 - Math.clz32(units - 1);
  // Of a doubling 4 < x <= 8 the classes are 5, 6, 7 and 8 (times a power of two).
  return EXACT_UNITS + (shift - 5) * 4 + (((units - 1) >>> shift) - 3);
}

function unitsOf(kind: number): number {
  if (kind <= EXACT_UNITS) return kind;
  const above = kind - EXACT_UNITS - 1;
  return (5 + (above & 3)) << (5 + (above >>> 2));
}

function read32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
