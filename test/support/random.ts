/** Random values that a seed repeats: put the seed into the test's title, and run again with `SEED=… bun test`. */

/** newSeed returns the seed of the environment, or `usual`: a fresh one, unless what is tested has bounds that one weather in a thousand exceeds. */
export function newSeed(usual = Math.floor(Math.random() * 2 ** 32)): number {
  return Number(process.env["SEED"] ?? usual);
}

/** Random is a small generator (mulberry32) with what tests draw from it. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** u32 returns 0 to 2^32 - 1. */
  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** below returns 0 to limit - 1. */
  below(limit: number): number {
    return Math.floor((this.u32() / 2 ** 32) * limit);
  }

  chance(probability: number): boolean {
    return this.u32() / 2 ** 32 < probability;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  text(maxLength: number): string {
    const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_.äß€";
    return Array.from({ length: this.below(maxLength + 1) }, () => this.pick([...letters])).join("");
  }

  /** mutate returns a copy with a few bytes changed, cut, or repeated. */
  mutate(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    let copy = new Uint8Array(bytes);
    for (let i = this.below(4); i >= 0 && copy.length > 0; i--) {
      const at = this.below(copy.length);
      switch (this.below(5)) {
        case 0:
          copy[at] = this.below(256);
          break;
        case 1:
          copy[at] = (copy[at] as number) ^ (1 << this.below(8));
          break;
        case 2:
          copy = copy.slice(0, at);
          break;
        case 3:
          copy = new Uint8Array([
            ...copy.subarray(0, at),
            ...this.bytes(this.below(9)),
            ...copy.subarray(at),
          ]);
          break;
        default:
          // Lengths are what parsers trust: put an extreme one somewhere.
          copy[at] = this.pick([0, 1, 3, 4, 0x7f, 0xff]);
      }
    }
    return copy;
  }
}
