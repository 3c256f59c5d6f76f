/** How often a node may announce another key: each costs a write, and revokes one for good. Of revoked keys only the newest are told (removal.ts). */
import type { PublicKey } from "../net/mod.ts";

const KEYS_PER_HOUR = 8;
const HOUR_MS = 3_600_000;
/** Nodes that are remembered; then the one that announced first is forgotten. */
const MAX_NODES = 8192;

interface Announced {
  readonly key: PublicKey;
  readonly timesMs: readonly number[];
}

/** KeyLimit remembers what nodes announced. */
export class KeyLimit {
  readonly #nodes = new Map<string, Announced>();

  /** allows tells whether a node may announce a key now; the same one again always. */
  allows(node: string, key: PublicKey, nowMs: number): boolean {
    const before = this.#nodes.get(node);
    if (before?.key === key) return true;
    const timesMs = (before?.timesMs ?? []).filter((time) => nowMs - time < HOUR_MS);
    if (timesMs.length >= KEYS_PER_HOUR) return false;
    this.#nodes.set(node, { key, timesMs: [...timesMs, nowMs] });
    const [first] = this.#nodes.keys();
    if (this.#nodes.size > MAX_NODES && first !== undefined) this.#nodes.delete(first);
    return true;
  }
}
