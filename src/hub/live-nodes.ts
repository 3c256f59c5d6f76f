/**
 * Open connections of nodes. With thousands of them, those of one node are found without a look at all others, and what all are told does not
 * come in one burst.
 */
import { pause } from "../sys/mod.ts";

/**
 * After so many that are told something there is a pause. Each costs a packet or more, and the queue of the tunnel's link holds 2000 (QUEUE_PACKETS of
 * tunnel/dataplane): what does not fit is lost, and TCP takes 200 ms and more to notice. Measured with 5,000 nodes: of one piece of news a
 * thousand packets were lost, with pauses none.
 */
const AT_ONCE = 128;
const PAUSE_MS = 2;

/** Connected is one connection; the node of it never changes. */
export interface Connected {
  readonly id: number;
  readonly session: { readonly node: string };
}

/** LiveNodes keeps them in the order in which they came. */
export class LiveNodes<L extends Connected> {
  readonly #all = new Map<number, L>();
  readonly #byNode = new Map<string, Set<L>>();

  get size(): number {
    return this.#all.size;
  }

  /** all returns them as they are now: what is done with them may change them. */
  all(): readonly L[] {
    return [...this.#all.values()];
  }

  /** of returns those of one node, the oldest first. */
  of(node: string): readonly L[] {
    return [...(this.#byNode.get(node) ?? [])];
  }

  /** forAll does something for each that is there now. */
  forAll(work: (live: L) => void): void {
    for (const [i, live] of this.all().entries()) {
      if (i > 0 && i % AT_ONCE === 0) pause(PAUSE_MS);
      work(live);
    }
  }

  add(live: L): void {
    const { node } = live.session;
    this.#all.set(live.id, live);
    this.#byNode.set(node, (this.#byNode.get(node) ?? new Set<L>()).add(live));
  }

  delete(live: L): void {
    const { node } = live.session;
    this.#all.delete(live.id);
    const own = this.#byNode.get(node);
    own?.delete(live);
    if (own?.size === 0) this.#byNode.delete(node);
  }
}
