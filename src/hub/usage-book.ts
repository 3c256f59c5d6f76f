/** How many addresses of their blocks nodes have leased, as they say: for people who ask, at the hub that a node is connected to. In memory only. */
import { MAX_GRANTS_OF_NODE } from "./claim-limits.ts";

/** Nodes that are remembered: as many as may be connected. Then the one that was heard of first is forgotten. */
const MAX_NODES = 8192;

/** UsageBook remembers what nodes said. */
export class UsageBook {
  readonly #nodes = new Map<string, Map<number, number>>();

  /** say takes what a node says of its grants; what it said of others before stays. */
  say(node: string, used: ReadonlyMap<number, number>): void {
    const known = this.#nodes.get(node) ?? new Map<number, number>();
    // Numbers of grants that ended long ago stay; those that count are said again.
    if (known.size > 2 * MAX_GRANTS_OF_NODE) known.clear();
    for (const [number, count] of used) known.set(number, count);
    this.#nodes.set(node, known);
    const [first] = this.#nodes.keys();
    if (this.#nodes.size > MAX_NODES && first !== undefined) this.#nodes.delete(first);
  }

  /** usedOf returns how many addresses of a grant are leased; undefined when its node did not say. */
  usedOf(node: string, number: number): number | undefined {
    return this.#nodes.get(node)?.get(number);
  }
}
