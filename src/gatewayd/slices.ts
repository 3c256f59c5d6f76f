/** Long work in slices: what comes meanwhile (messages of peers, timers, requests) is done between two of them. */
import { monotonicMs, soon } from "../sys/mod.ts";

/** So long others wait at most for what is done in slices, plus one piece of it. */
const SLICE_MS = 4;

/** Slices have one slice of each turn of the event loop, for all who ask. */
export class Slices {
  readonly #waiting: (() => void)[] = [];
  /** When this turn's slice began; absent: nothing was done in it. */
  #startedMs: number | undefined;
  #isRunning = false;

  /** do does a piece of work after those that were asked for before: at once while this turn's slice lasts, else in a later one. Resolves to what it returns. */
  do<T>(work: () => T): Promise<Awaited<T>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => {
        try {
          resolve(work() as Awaited<T>);
        } catch (error) {
          reject(error);
        }
      });
      this.#run();
    });
  }

  #run(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    if (this.#startedMs === undefined) {
      this.#startedMs = monotonicMs();
      soon(() => {
        this.#startedMs = undefined;
        if (this.#waiting.length > 0) this.#run();
      });
    }
    while (this.#waiting.length > 0 && monotonicMs() - this.#startedMs < SLICE_MS) this.#waiting.shift()?.();
    this.#isRunning = false;
  }
}
