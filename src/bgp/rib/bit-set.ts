/**
 * BitSet: which of many small numbers are to be looked at. Two levels: a word of 32 numbers, and one bit for each word that is not
 * empty, so that taking the next member of a nearly empty set of a million costs microseconds, and nothing is allocated.
 */
import { wider } from "./column.ts";

/** BitSet owns the words. */
export class BitSet {
  /** How many members there are. */
  size = 0;
  #words = new Uint32Array(64);
  #summary = new Uint32Array(2);

  /** reserve makes room for numbers below `capacity`; `add` does not look. */
  reserve(capacity: number): void {
    const words = (capacity + 31) >>> 5;
    if (words <= this.#words.length) return;
    this.#words = wider(this.#words, words);
    this.#summary = wider(this.#summary, (words + 31) >>> 5);
  }

  /** add makes a number a member. */
  add(id: number): void {
    const at = id >>> 5;
    const word = this.#words[at] as number;
    const bit = 1 << (id & 31);
    if ((word & bit) !== 0) return;
    this.#words[at] = word | bit;
    if (word === 0) this.#summary[at >>> 5] = (this.#summary[at >>> 5] as number) | (1 << (at & 31));
    this.size++;
  }

  /** delete makes a number no member. */
  delete(id: number): void {
    const at = id >>> 5;
    const word = this.#words[at] as number;
    const bit = 1 << (id & 31);
    if ((word & bit) === 0) return;
    this.#words[at] = word & ~bit;
    if ((word & ~bit) === 0)
      this.#summary[at >>> 5] = (this.#summary[at >>> 5] as number) & ~(1 << (at & 31));
    this.size--;
  }

  /** has tells whether a number is a member. */
  has(id: number): boolean {
    const word = this.#words[id >>> 5];
    return word !== undefined && (word & (1 << (id & 31))) !== 0;
  }

  /** next returns the smallest member that is at least `from`, and -1 where there is none. */
  next(from: number): number {
    let at = from >>> 5;
    if (at >= this.#words.length) return -1;
    const first = ((this.#words[at] as number) & (-1 << (from & 31))) >>> 0;
    if (first !== 0) return (at << 5) + lowest(first);
    at++;
    let group = at >>> 5;
    if (group >= this.#summary.length) return -1;
    let bits = ((this.#summary[group] as number) & (-1 << (at & 31))) >>> 0;
    while (bits === 0) {
      group++;
      if (group >= this.#summary.length) return -1;
      bits = this.#summary[group] as number;
    }
    at = (group << 5) + lowest(bits);
    return (at << 5) + lowest(this.#words[at] as number);
  }

  /** clear empties the set. */
  clear(): void {
    this.#words.fill(0);
    this.#summary.fill(0);
    this.size = 0;
  }
}

const lowest = (word: number) => 31 - Math.clz32(word & -word);
