/**
 * ByteTable: byte strings with small numbers for names. The same bytes always have the same number while they are in the table; numbers
 * are dense, begin at 1 and are used again, so that columns beside the table can be indexed by them.
 *
 * The index is open-addressed and cut into segments that grow one by one: no insertion ever moves more than a segment, which is what keeps
 * pauses short at millions of routes. An entry is a number of 24 bits and eight bits of the hash, which save nearly all comparisons that fail.
 */
import { ByteArena, offsetOf } from "./byte-arena.ts";
import { wider, widened } from "./column.ts";

/** How many byte strings one table can hold: an index entry has 24 bits for the number. */
export const MOST_ENTRIES = (1 << 24) - 2;

const ID_MASK = 0xffffff;
/** A place that was used and is free again: a search goes on past it. */
const GONE = 0xffffff;
const FREE = 0x80000000;
const SMALLEST_SEGMENT = 8;

/** ByteTableOptions say how many segments the index has (two to the power of `segmentBits`), and the hash's seed. */
export interface ByteTableOptions {
  readonly segmentBits?: number;
  readonly seed?: number;
}

/** ByteTable owns the bytes and the index. */
export class ByteTable {
  /** How many numbers columns need room for; it grows. */
  capacity = 64;
  /** How many strings are in the table. */
  size = 0;
  /** One more than the largest number ever given. */
  end = 1;
  readonly #arena = new ByteArena();
  readonly #segments: Uint32Array<ArrayBuffer>[] = [];
  readonly #used: Uint32Array;
  readonly #shift: number;
  readonly #seed: number;
  /** Where a string lies; of a number that is free, FREE and the next free number. */
  #reference = new Uint32Array(64);
  /** Hashes, so that a segment can grow without looking at its strings: four bytes that save a third of the time of an insertion. */
  #hash = new Uint32Array(64);
  #free = 0;

  constructor(options: ByteTableOptions = {}) {
    const bits = options.segmentBits ?? 4;
    this.#shift = 32 - bits;
    this.#seed = options.seed ?? 0x9747b28c;
    for (let i = 0; i < 1 << bits; i++) this.#segments.push(new Uint32Array(SMALLEST_SEGMENT));
    this.#used = new Uint32Array(1 << bits);
  }

  /** Bytes held by the strings themselves. */
  get usedBytes(): number {
    return this.#arena.usedBytes;
  }

  /** find returns the number of these bytes, 0 when they are not in the table. */
  find(bytes: Uint8Array, at: number, length: number): number {
    const hash = hashOf(bytes, at, length, this.#seed);
    const segment = this.#segments[this.#shift === 32 ? 0 : hash >>> this.#shift] as Uint32Array;
    const mask = segment.length - 1;
    const tag = (hash << 24) >>> 0;
    for (let place = (hash >>> 8) & mask; ; place = (place + 1) & mask) {
      const entry = segment[place] as number;
      if (entry === 0) return 0;
      if ((entry ^ tag) >>> 24 === 0 && this.#same(entry & ID_MASK, bytes, at, length))
        return entry & ID_MASK;
    }
  }

  /**
   * add returns the number of these bytes and puts them into the table where they are not yet; `size` tells which of the two happened.
   * 0 when the table is full.
   */
  add(bytes: Uint8Array, at: number, length: number): number {
    const hash = hashOf(bytes, at, length, this.#seed);
    const index = this.#shift === 32 ? 0 : hash >>> this.#shift;
    const segment = this.#segments[index] as Uint32Array;
    const mask = segment.length - 1;
    const tag = (hash << 24) >>> 0;
    let place = (hash >>> 8) & mask;
    let reuse = -1;
    for (; ; place = (place + 1) & mask) {
      const entry = segment[place] as number;
      if (entry === 0) break;
      if ((entry & ID_MASK) === GONE) {
        if (reuse < 0) reuse = place;
      } else if ((entry ^ tag) >>> 24 === 0 && this.#same(entry & ID_MASK, bytes, at, length))
        return entry & ID_MASK;
    }
    const id = this.#take(bytes, at, length);
    if (id === 0) return 0;
    this.#hash[id] = hash;
    segment[reuse < 0 ? place : reuse] = (tag | id) >>> 0;
    if (reuse < 0) {
      const used = (this.#used[index] as number) + 1;
      this.#used[index] = used;
      // Three quarters full; what is there is on average well below that.
      if (used * 4 > segment.length * 3) this.#rebuild(index);
    }
    return id;
  }

  /** remove takes a string out of the table; its number is free from now on. */
  remove(id: number): void {
    const reference = this.#reference[id] as number;
    const bytes = this.#arena.chunk(reference);
    const at = offsetOf(reference);
    const length = lengthAt(bytes, at);
    const hash = this.#hash[id] as number;
    const segment = this.#segments[this.#shift === 32 ? 0 : hash >>> this.#shift] as Uint32Array;
    const mask = segment.length - 1;
    const wanted = (((hash << 24) >>> 0) | id) >>> 0;
    let place = (hash >>> 8) & mask;
    while (segment[place] !== wanted) place = (place + 1) & mask;
    segment[place] = GONE;
    this.#arena.free(reference, length + 2);
    this.#reference[id] = (FREE | this.#free) >>> 0;
    this.#free = id;
    this.size--;
  }

  /** has tells whether a number is in use. */
  has(id: number): boolean {
    return id > 0 && id < this.end && (this.#reference[id] as number) < FREE;
  }

  /** memoryOf returns the memory in which a string lies, at `offsetIn(id)`. */
  memoryOf(id: number): Uint8Array<ArrayBuffer> {
    return this.#arena.chunk(this.#reference[id] as number);
  }

  /** offsetIn is where in its memory a string begins. */
  offsetIn(id: number): number {
    return offsetOf(this.#reference[id] as number) + 2;
  }

  /** lengthOf is how many bytes a string has. */
  lengthOf(id: number): number {
    const reference = this.#reference[id] as number;
    return lengthAt(this.#arena.chunk(reference), offsetOf(reference));
  }

  /** copyOf returns a string's bytes as a copy. */
  copyOf(id: number): Uint8Array<ArrayBuffer> {
    const at = this.offsetIn(id);
    return this.memoryOf(id).slice(at, at + this.lengthOf(id));
  }

  #same(id: number, bytes: Uint8Array, at: number, length: number): boolean {
    if (id === GONE) return false;
    const reference = this.#reference[id] as number;
    const own = this.#arena.chunk(reference);
    let from = offsetOf(reference);
    if (lengthAt(own, from) !== length) return false;
    from += 2;
    for (let i = 0; i < length; i++) if (own[from + i] !== bytes[at + i]) return false;
    return true;
  }

  #take(bytes: Uint8Array, at: number, length: number): number {
    let id = this.#free;
    if (id !== 0) this.#free = (this.#reference[id] as number) & ~FREE;
    else {
      id = this.end;
      if (id > MOST_ENTRIES) return 0;
      if (id >= this.capacity) {
        this.capacity = widened(this.capacity, id);
        this.#reference = wider(this.#reference, this.capacity);
        this.#hash = wider(this.#hash, this.capacity);
      }
      this.end = id + 1;
    }
    const reference = this.#arena.allocate(length + 2);
    const own = this.#arena.chunk(reference);
    const to = offsetOf(reference);
    own[to] = length;
    own[to + 1] = length >>> 8;
    for (let i = 0; i < length; i++) own[to + 2 + i] = bytes[at + i] as number;
    this.#reference[id] = reference;
    this.size++;
    return id;
  }

  /** Moves the entries of one segment into one that fits them; places that were given up are gone then. */
  #rebuild(index: number): void {
    const old = this.#segments[index] as Uint32Array;
    let live = 0;
    for (let i = 0; i < old.length; i++) {
      const entry = old[i] as number;
      if (entry !== 0 && (entry & ID_MASK) !== GONE) live++;
    }
    let length = SMALLEST_SEGMENT;
    while (length * 3 < live * 5) length *= 2;
    const fresh = new Uint32Array(length);
    const mask = length - 1;
    for (let i = 0; i < old.length; i++) {
      const entry = old[i] as number;
      if (entry === 0 || (entry & ID_MASK) === GONE) continue;
      let place = ((this.#hash[entry & ID_MASK] as number) >>> 8) & mask;
      while (fresh[place] !== 0) place = (place + 1) & mask;
      fresh[place] = entry;
    }
    this.#segments[index] = fresh;
    this.#used[index] = live;
  }
}

const lengthAt = (bytes: Uint8Array, at: number) => (bytes[at] as number) | ((bytes[at + 1] as number) << 8);

/** MurmurHash3 (32 bits): short keys, few cycles. The seed is the table's, so that two tables do not collide together. */
function hashOf(bytes: Uint8Array, from: number, length: number, seed: number): number {
  let hash = seed ^ length;
  let at = from;
  const whole = from + (length & ~3);
  for (; at < whole; at += 4) {
    let word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    word = Math.imul(word, 0xcc9e2d51);
    word = (word << 15) | (word >>> 17);
    hash ^= Math.imul(word, 0x1b873593);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let rest = 0;
  for (let shift = 0, end = from + length; at < end; at++, shift += 8) rest |= (bytes[at] as number) << shift;
  rest = Math.imul(rest, 0xcc9e2d51);
  rest = (rest << 15) | (rest >>> 17);
  hash ^= Math.imul(rest, 0x1b873593);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
