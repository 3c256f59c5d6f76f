/**
 * The live circuits as a worker looks them up for each run of datagrams: a hash table in one typed array, with open addressing.
 *
 * ```
 *   entry:  source node (0: free) │ receiver index │ node to send to │ meter
 * ```
 * Nodes choose their indices, so places depend on a secret: nobody can have his circuits lie on one heap.
 */
import { MOST_CIRCUITS } from "./limits.ts";

const WORDS = 4;
const INDEX = 1;
const TO = 2;
const METER = 3;
const FIRST_ENTRIES = 1024;

/** CircuitTable grows up to MOST_CIRCUITS. */
export class CircuitTable {
  readonly #seed: number;
  readonly #factor: number;
  #entries = new Int32Array(FIRST_ENTRIES * WORDS);
  #mask = FIRST_ENTRIES - 1;
  #size = 0;

  /** `secret` is eight random bytes. */
  constructor(secret: Uint8Array) {
    const view = new DataView(secret.buffer, secret.byteOffset, secret.length);
    this.#seed = view.getInt32(0);
    this.#factor = view.getInt32(4) | 1;
  }

  get size(): number {
    return this.#size;
  }

  /** find returns where a circuit is, or -1; valid until the next change. For every run of datagrams. */
  find(source: number, index: number): number {
    const entries = this.#entries;
    const wanted = index | 0;
    for (let at = this.#place(source, wanted); ; at = (at + 1) & this.#mask) {
      const entry = at * WORDS;
      const there = entries[entry] as number;
      if (there === source && entries[entry + INDEX] === wanted) return entry;
      if (there === 0) return -1;
    }
  }

  /** to is the node that the messages of a circuit go to. */
  to(entry: number): number {
    return this.#entries[entry + TO] as number;
  }

  /** meter is the pair's place among the meters. */
  meter(entry: number): number {
    return this.#entries[entry + METER] as number;
  }

  /** set adds a circuit, or changes it; false if there is no room. */
  set(
    source: number,
    index: number,
    { to, meter }: { readonly to: number; readonly meter: number },
  ): boolean {
    if (!(source > 0)) throw new RangeError(`Node ${source} cannot have circuits`);
    let entry = this.find(source, index);
    if (entry < 0) {
      if (this.#size >= MOST_CIRCUITS) return false;
      // At most half full.
      if ((this.#size + 1) * 2 > this.#mask + 1) this.#grow();
      entry = this.#free(source, index | 0);
      this.#size++;
    }
    const entries = this.#entries;
    entries[entry] = source;
    entries[entry + INDEX] = index | 0;
    entries[entry + TO] = to;
    entries[entry + METER] = meter;
    return true;
  }

  /** delete takes a circuit away. */
  delete(source: number, index: number): void {
    const found = this.find(source, index);
    if (found < 0) return;
    this.#size--;
    const entries = this.#entries;
    let hole = found / WORDS;
    // What lies behind it on the same heap moves up, so that no search ends too early (Knuth, vol. 3, 6.4, algorithm R).
    for (let at = (hole + 1) & this.#mask; entries[at * WORDS] !== 0; at = (at + 1) & this.#mask) {
      const home = this.#place(entries[at * WORDS] as number, entries[at * WORDS + INDEX] as number);
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue;
      entries.copyWithin(hole * WORDS, at * WORDS, (at + 1) * WORDS);
      hole = at;
    }
    entries.fill(0, hole * WORDS, (hole + 1) * WORDS);
  }

  #place(source: number, index: number): number {
    let hash = Math.imul(index ^ this.#seed, 0x85ebca6b) ^ Math.imul(source, this.#factor);
    hash = Math.imul(hash ^ (hash >>> 15), this.#factor);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) & this.#mask;
  }

  #free(source: number, index: number): number {
    let at = this.#place(source, index);
    while (this.#entries[at * WORDS] !== 0) at = (at + 1) & this.#mask;
    return at * WORDS;
  }

  #grow(): void {
    const before = this.#entries;
    this.#mask = this.#mask * 2 + 1;
    this.#entries = new Int32Array((this.#mask + 1) * WORDS);
    for (let from = 0; from < before.length; from += WORDS) {
      if (before[from] === 0) continue;
      const entry = this.#free(before[from] as number, before[from + INDEX] as number);
      for (let i = 0; i < WORDS; i++) this.#entries[entry + i] = before[from + i] as number;
    }
  }
}
