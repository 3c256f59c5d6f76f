/** How often each node connects: a hello may cost the whole register and a signature, whatever the connection is used for then. */

const PER_MINUTE = 60;
const MINUTE_MS = 60_000;

/** Arrivals remembers the last minute. */
export class Arrivals {
  readonly #times = new Map<string, readonly number[]>();

  /** Nodes that are remembered. */
  get size(): number {
    return this.#times.size;
  }

  /** take tells whether a node may connect now. */
  take(node: string, nowMs: number): boolean {
    const times = (this.#times.get(node) ?? []).filter((time) => nowMs - time < MINUTE_MS);
    const free = times.length < PER_MINUTE;
    this.#times.set(node, free ? [...times, nowMs] : times);
    return free;
  }

  /** sweep forgets what is older than a minute. */
  sweep(nowMs: number): void {
    for (const [node, times] of this.#times)
      if (times.every((time) => nowMs - time >= MINUTE_MS)) this.#times.delete(node);
  }
}
