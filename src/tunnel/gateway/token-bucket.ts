/** A limit on how often something is done: so many at once, and so many a second. */

/** RateLimit says how often: `perSecond` on and on, `burst` at once, `first` at once at the beginning. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
  readonly first: number;
}

/** TokenBucket counts by a clock that it is given, in milliseconds. */
export class TokenBucket {
  readonly #limit: RateLimit;
  #tokens: number;
  #lastMs: number | undefined;
  /** What was refused. */
  refused = 0;

  constructor(limit: RateLimit) {
    this.#limit = limit;
    this.#tokens = limit.first;
  }

  /** take tells whether it may be done once more. */
  take(nowMs: number): boolean {
    const { perSecond, burst } = this.#limit;
    const passedMs = Math.max(0, nowMs - (this.#lastMs ?? nowMs));
    this.#lastMs = nowMs;
    this.#tokens = Math.min(burst, this.#tokens + (passedMs * perSecond) / 1000);
    if (this.#tokens < 1) {
      this.refused++;
      return false;
    }
    this.#tokens--;
    return true;
  }
}
