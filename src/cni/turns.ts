/** Calls that wait come one after the other for each attachment, as if none of them waited; those of different attachments do not meet. */
import { after } from "../sys/mod.ts";
import { CniError } from "./error.ts";

/** A runtime that repeats calls without waiting for answers must not pile up work. */
const MOST_WAITING = 16;

interface Turn {
  last: Promise<unknown>;
  waiting: number;
}

/** Turns is what is under way. */
export class Turns {
  readonly #turns = new Map<string, Turn>();

  /** isBusy tells whether a call of a key is under way. */
  isBusy(key: string): boolean {
    return this.#turns.has(key);
  }

  /** run does the work after what came before it of the same key; at once, and to its end if it does not wait, where nothing did. */
  run<T>(key: string, work: () => T | Promise<T>): T | Promise<T> {
    const before = this.#turns.get(key);
    if (before !== undefined && before.waiting >= MOST_WAITING)
      throw new CniError(
        "tryAgain",
        "Cannot serve the call: too many of the same attachment wait; try again later",
        {
          details: `${MOST_WAITING} wait already`,
        },
      );
    const done = before === undefined ? work() : before.last.then(work);
    if (!(done instanceof Promise)) return done;
    const turn: Turn = before ?? { last: done, waiting: 0 };
    turn.waiting++;
    turn.last = done
      .catch(() => undefined)
      .then(() => {
        if (--turn.waiting === 0) this.#turns.delete(key);
      });
    this.#turns.set(key, turn);
    return done;
  }

  /** settled resolves when nothing is under way. */
  async settled(): Promise<void> {
    while (this.#turns.size > 0) await Promise.all([...this.#turns.values()].map(({ last }) => last));
  }
}

/** withinMs rejects with `late` when the work has not ended in time; the work goes on, and can ask whether it is late. */
export function withinMs<T>(
  ms: number,
  work: (isLate: () => boolean) => Promise<T>,
  late: () => Error,
): Promise<T> {
  let isLate = false;
  return new Promise((resolve, reject) => {
    const timer = after(ms, () => {
      isLate = true;
      reject(late());
    });
    work(() => isLate)
      .then(resolve, reject)
      .finally(() => timer[Symbol.dispose]());
  });
}
