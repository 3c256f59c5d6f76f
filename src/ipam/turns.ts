/** Turns: work on one key is done one after the other, work on different keys at the same time, and work on everything alone. */
export class Turns {
  readonly #tails = new Map<string, Promise<unknown>>();
  #everything: Promise<unknown> = Promise.resolve();

  /** run does work after all that was begun on its key, and on everything. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = Promise.all([this.#tails.get(key), this.#everything]);
    const next = before.then(work);
    const tail: Promise<void> = next.then(
      () => this.#end(key, tail),
      () => this.#end(key, tail),
    );
    this.#tails.set(key, tail);
    return next;
  }

  /** runAlone does work after all that was begun, and before all that comes later. */
  runAlone<T>(work: () => Promise<T>): Promise<T> {
    const next = Promise.all([...this.#tails.values(), this.#everything]).then(work);
    this.#everything = next.catch(() => undefined);
    return next;
  }

  #end(key: string, tail: Promise<unknown>): void {
    if (this.#tails.get(key) === tail) this.#tails.delete(key);
  }
}
