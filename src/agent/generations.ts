/** How often each peer was made anew, over all lives of what counts it: the engine remembers what it applied for as long as the agent runs. */

/** Generations keeps the sums of what is over. */
export class Generations {
  readonly #before = new Map<string, number>();

  /** of returns a peer's generation, of which `own` are of the present life. */
  of(node: string, own: number): number {
    return (this.#before.get(node) ?? 0) + own;
  }

  /** end notes that a life is over. */
  end(node: string, own: number): void {
    if (own > 0) this.#before.set(node, this.of(node, own));
  }
}
