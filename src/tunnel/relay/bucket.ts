/** A token bucket. Its time is that of whoever takes. */

/** BucketRate says how fast it fills, and how much is in it when it is full. */
export interface BucketRate {
  readonly perSecond: number;
  readonly burst: number;
}

/** Bucket begins full. */
export class Bucket {
  readonly #rate: BucketRate;
  #tokens: number;
  #atMs: number;

  constructor(rate: BucketRate, nowMs: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#atMs = nowMs;
  }

  /** left returns the whole tokens that are in it. */
  left(nowMs: number): number {
    const earned = (Math.max(0, nowMs - this.#atMs) / 1000) * this.#rate.perSecond;
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + earned);
    this.#atMs = Math.max(this.#atMs, nowMs);
    return Math.floor(this.#tokens);
  }

  /** take takes tokens that `left` said to be there. */
  take(tokens: number): void {
    this.#tokens -= tokens;
  }

  /** takeOne takes one if there is one. */
  takeOne(nowMs: number): boolean {
    if (this.left(nowMs) < 1) return false;
    this.#tokens--;
    return true;
  }
}
