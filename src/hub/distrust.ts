/**
 * What each node said that did not hold. A removal costs a check of its signature, and a loan the reading of a whole register; who sends too many
 * wrong ones is not listened to for a while. Not at the first one: after a change of the operator's key honest nodes have some that hold no more.
 */

/** PERIOD_MS is how long what did not hold is remembered. */
export const PERIOD_MS = 600_000;
/** MOST_WRONG removals of one node in that time. */
export const MOST_WRONG = 2_000;

interface Entry {
  sinceMs: number;
  wrong: number;
  loanMs: number;
}

/** Distrust counts by node. */
export class Distrust {
  readonly #entries = new Map<string, Entry>();

  #entry(node: string, nowMs: number): Entry {
    const known = this.#entries.get(node);
    if (known === undefined) {
      const fresh = { sinceMs: nowMs, wrong: 0, loanMs: Number.NEGATIVE_INFINITY };
      this.#entries.set(node, fresh);
      return fresh;
    }
    if (nowMs - known.sinceMs >= PERIOD_MS) {
      known.sinceMs = nowMs;
      known.wrong = 0;
    }
    return known;
  }

  /** removals notes so many that did not hold. */
  removals(node: string, count: number, nowMs: number): void {
    if (count > 0) this.#entry(node, nowMs).wrong += count;
  }

  /** loan notes one that did not hold. */
  loan(node: string, nowMs: number): void {
    this.#entry(node, nowMs).loanMs = nowMs;
  }

  /** refuses tells whether a node is not listened to now. */
  refuses(node: string, nowMs: number): boolean {
    return this.#entries.has(node) && this.#entry(node, nowMs).wrong > MOST_WRONG;
  }

  /** mayLend tells whether a loan of a node is looked at now. */
  mayLend(node: string, nowMs: number): boolean {
    return nowMs - (this.#entries.get(node)?.loanMs ?? Number.NEGATIVE_INFINITY) >= PERIOD_MS;
  }

  /** tidy forgets what is over. */
  tidy(nowMs: number): void {
    for (const [node, { sinceMs }] of this.#entries)
      if (nowMs - sinceMs >= PERIOD_MS && this.mayLend(node, nowMs)) this.#entries.delete(node);
  }
}
