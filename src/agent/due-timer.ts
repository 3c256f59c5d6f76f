/** One timer for the earliest of many times. */
import { after, monotonicMs } from "../sys/mod.ts";

/** DueTimer calls `due` at the earliest time that it was set to since it called last. */
export class DueTimer implements Disposable {
  readonly #due: () => void;
  #timer: Disposable | undefined;
  #atMs = Number.POSITIVE_INFINITY;

  constructor(due: () => void) {
    this.#due = due;
  }

  /** set is to be called when `atMs` (monotonic) has come, or sooner; undefined changes nothing. */
  set(atMs: number | undefined): void {
    if (atMs === undefined || (this.#timer !== undefined && this.#atMs <= atMs)) return;
    this.#timer?.[Symbol.dispose]();
    this.#atMs = atMs;
    this.#timer = after(Math.max(0, atMs - monotonicMs()), () => {
      this.#timer = undefined;
      this.#due();
    });
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }
}
