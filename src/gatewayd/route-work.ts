/** Work in turn for each route: what one asks for is done in its order, each when the one before is done, and no route waits for another. */

/** RouteWork holds what is not done yet. */
export class RouteWork {
  readonly #last = new Map<string, Promise<void>>();

  /** add does some work after all that the route was given before; resolves when it is done, and never rejects. */
  add(route: string, work: () => Promise<void>, failed: (error: Error) => void): Promise<void> {
    const before = this.#last.get(route) ?? Promise.resolve();
    const done = before
      .then(work)
      .catch((error: unknown) => failed(error instanceof Error ? error : new Error(String(error))));
    this.#last.set(route, done);
    void done.then(() => {
      if (this.#last.get(route) === done) this.#last.delete(route);
    });
    return done;
  }

  /** settled resolves when all that was given so far is done. */
  async settled(): Promise<void> {
    await Promise.all(this.#last.values());
  }

  /** Nothing is left to do. */
  get isSettled(): boolean {
    return this.#last.size === 0;
  }
}
