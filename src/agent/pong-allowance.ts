/** How many pings of each node are answered by one that keeps no state of the pair: a hub, and a node that hubs ask. */

const PER_SECOND = 20;

/** PongAllowance is a budget for each node. */
export class PongAllowance {
  readonly #left = new Map<string, { atMs: number; left: number }>();

  /** keep forgets all nodes but these. */
  keep(names: ReadonlySet<string>): void {
    for (const name of [...this.#left.keys()]) if (!names.has(name)) this.#left.delete(name);
  }

  /** take tells whether one more may be answered. */
  take(node: string, nowMs: number): boolean {
    const entry = this.#left.get(node) ?? { atMs: nowMs, left: PER_SECOND };
    this.#left.set(node, entry);
    entry.left = Math.min(PER_SECOND, entry.left + ((nowMs - entry.atMs) / 1000) * PER_SECOND);
    entry.atMs = nowMs;
    if (entry.left < 1) return false;
    entry.left--;
    return true;
  }
}
