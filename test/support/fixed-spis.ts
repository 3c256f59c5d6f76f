/** SPIs one after another, for tests that know them before. */
import type { Spis } from "../../src/exchange/mod.ts";

/** FixedSpis counts up from a number, and keeps what is taken. */
export class FixedSpis implements Spis {
  readonly taken = new Set<number>();
  readonly #most: number;
  #next: number;

  constructor(next: number, most = Number.POSITIVE_INFINITY) {
    this.#next = next;
    this.#most = most;
  }

  take(count: number): number | undefined {
    if (this.taken.size >= this.#most) return undefined;
    const first = Math.ceil(this.#next / count) * count;
    this.#next = first + count;
    this.taken.add(first);
    return first;
  }

  release(first: number): void {
    this.taken.delete(first);
  }
}
