/**
 * Work that anybody may ask for and that costs: one at a time, and with a pause between. Who asks while it is done waits for the next one, which all
 * of them share, so that nobody gets what was true before he asked.
 */
import { sleep } from "../sys/mod.ts";

/** PAUSE_MS lies between two of the same kind. */
export const PAUSE_MS = 100;

/** SharedWork keeps the work of each kind. */
export class SharedWork {
  readonly #running = new Map<string, Promise<unknown>>();
  readonly #waiting = new Map<string, Promise<unknown>>();

  /** ask does the work of a kind, or waits for others' that begins later. */
  ask(kind: string, work: () => unknown): Promise<unknown> {
    const running = this.#running.get(kind);
    if (running === undefined) return this.#begin(kind, work);
    const known = this.#waiting.get(kind);
    if (known !== undefined) return known;
    const next = running.then(() => {
      this.#waiting.delete(kind);
      return this.#begin(kind, work);
    });
    this.#waiting.set(kind, next);
    return next;
  }

  #begin(kind: string, work: () => unknown): Promise<unknown> {
    const result = Promise.try(work);
    const over = result
      .catch(() => {})
      .then(() => sleep(PAUSE_MS))
      .then(() => {
        if (this.#running.get(kind) === over) this.#running.delete(kind);
      });
    this.#running.set(kind, over);
    return result;
  }
}
