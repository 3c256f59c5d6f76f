/** Which life of its relay's tables a hub has, as it tells nodes. Asking costs, and nodes are to hear soon that the relay has forgotten them. */

/** A hub looks so often, at most. */
const LOOK_MS = 200;

/** RelayLife remembers what it was told last. */
export class RelayLife {
  readonly #ask: () => number | undefined;
  #last: { readonly told: { readonly instance?: number }; readonly atMs: number } | undefined;

  constructor(ask: () => number | undefined) {
    this.#ask = ask;
  }

  /** at returns what a pong tells of it; nothing where nothing is relayed. */
  at(nowMs: number): { readonly instance?: number } {
    if (this.#last === undefined || nowMs - this.#last.atMs >= LOOK_MS) {
      const instance = this.#ask();
      this.#last = { told: instance === undefined ? {} : { instance }, atMs: nowMs };
    }
    return this.#last.told;
  }
}
