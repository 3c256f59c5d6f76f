/** Work that costs nearly the same for one thing as for a hundred: while it takes long, what comes meanwhile is gathered for the next time. */
import { monotonicMs } from "../sys/mod.ts";

/** As long as it took the last time, and at most this time, nothing is begun. */
const MOST_REST_MS = 100;

/** Gathering lets it take half of the time at most. */
export class Gathering {
  /** When it may be done again (monotonic). */
  nextMs = Number.NEGATIVE_INFINITY;
  readonly #nowMs: () => number;

  constructor(nowMs: () => number = monotonicMs) {
    this.#nowMs = nowMs;
  }

  /** run does it, if it may be done now. */
  run(work: () => void): void {
    const startMs = this.#nowMs();
    if (startMs < this.nextMs) return;
    try {
      work();
    } finally {
      const endMs = this.#nowMs();
      this.nextMs = endMs + Math.min(MOST_REST_MS, endMs - startMs);
    }
  }
}
