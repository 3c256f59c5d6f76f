/**
 * Initiations that were forwarded lately: who recorded one can send it again, but not make it a new one. Bits by a secret hash, in two halves, of which
 * the older one is cleared in its turn; so an initiation is remembered for one to two periods, and seldom one is taken for another.
 */
import { FULL_SEEN, SEEN_BITS, SEEN_MS } from "./limits.ts";

/** Seen remembers pairs of numbers and an index. */
export class Seen {
  readonly #seed: number;
  readonly #factor: number;
  /** Made when the first comes. */
  #now: Int32Array | undefined;
  #before: Int32Array | undefined;
  #count = 0;
  #sinceMs = 0;

  /** `secret` is eight random bytes: nobody knows which initiations are taken for each other. */
  constructor(secret: Uint8Array) {
    const view = new DataView(secret.buffer, secret.byteOffset, secret.length);
    this.#seed = view.getInt32(0);
    this.#factor = view.getInt32(4) | 1;
  }

  /** has tells whether it was added. */
  has(source: number, to: number, index: number): boolean {
    const first = this.#hash(source, to, index);
    const second = this.#hash(to, index, source);
    for (const half of [this.#now, this.#before])
      if (half !== undefined && isSet(half, first) && isSet(half, second)) return true;
    return false;
  }

  /** add remembers one. */
  add({
    source,
    to,
    index,
    nowMs,
  }: {
    readonly source: number;
    readonly to: number;
    readonly index: number;
    readonly nowMs: number;
  }): void {
    if (this.#now === undefined || this.#count >= FULL_SEEN || nowMs - this.#sinceMs >= SEEN_MS) {
      const next = this.#before ?? new Int32Array(SEEN_BITS / 32);
      this.#before = this.#now;
      this.#now = next.fill(0);
      this.#count = 0;
      this.#sinceMs = nowMs;
    }
    this.#count++;
    set(this.#now, this.#hash(source, to, index));
    set(this.#now, this.#hash(to, index, source));
  }

  #hash(a: number, b: number, c: number): number {
    let hash = Math.imul(a ^ this.#seed, 0x85ebca6b) ^ Math.imul(b, this.#factor);
    hash = Math.imul(hash ^ (hash >>> 15) ^ c, this.#factor);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) & (SEEN_BITS - 1);
  }
}

const isSet = (bits: Int32Array, at: number) => (((bits[at >>> 5] as number) >>> (at & 31)) & 1) === 1;

function set(bits: Int32Array, at: number): void {
  bits[at >>> 5] = (bits[at >>> 5] as number) | (1 << (at & 31));
}
