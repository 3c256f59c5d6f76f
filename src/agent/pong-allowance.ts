/** How many pings of each node are answered by one that keeps no state of the pair: a hub, a node that hubs ask, and a node at rest. */
import { type Answers, spendAnswer, startAnswers } from "../mesh/mod.ts";

const RATE = { perSecond: 20, burst: 20 };

/** PongAllowance is a budget for each node. */
export class PongAllowance {
  readonly #answers = new Map<string, Answers>();

  /** keep forgets all nodes but these. */
  keep(names: ReadonlySet<string>): void {
    for (const name of [...this.#answers.keys()]) if (!names.has(name)) this.#answers.delete(name);
  }

  /** take tells whether a ping is answered. */
  take(node: string, ping: { readonly transaction: bigint; readonly nowMs: number }): boolean {
    const before = this.#answers.get(node) ?? startAnswers(RATE, ping.nowMs);
    const [after, answered] = spendAnswer(before, ping, RATE);
    this.#answers.set(node, after);
    return answered;
  }
}
