/**
 * Whom an initiation is for, among all nodes: the hub itself, then the sender's latest partners, then everybody, all but the very latest under budgets of hashes (tags.ts).
 * A search that comes to the end of its budget goes on behind that with the sender's next initiation.
 */
import type { Primitives } from "../wireguard/mod.ts";
import { hasMac1, type MacKeys } from "../wireguard/mac.ts";
import { Bucket } from "./bucket.ts";
import {
  HASH_BURST,
  HASHES_PER_SECOND,
  MOST_AT_ONCE,
  MOST_NODES,
  MOST_RECENT,
  RECENT_HASH_BURST,
  RECENT_HASHES_PER_SECOND,
  SEARCH_HASH_BURST,
  SEARCH_HASHES_PER_SECOND,
} from "./limits.ts";
import { Tags } from "./tags.ts";

/** Trying one is trying four. */
const LANES = 4;

/** Findable is what is known of a node here. */
export interface Findable {
  readonly macKeys: MacKeys;
  readonly slot: number;
  /** Nodes that it talked to or that talked to it, the latest last. */
  readonly recent: Findable[];
  readonly recentHashes: Bucket;
  readonly searchHashes: Bucket;
  /** Where a search goes on that came to the end of its budget. */
  cursor: number;
}

/** Receivers are all nodes, by what their mac1 is made with. */
export class Receivers<N extends Findable> {
  readonly #primitives: Primitives;
  /** Not made before there is somebody to find. */
  #tags: Tags | undefined;
  readonly #slots: (N | undefined)[] = [];
  /** Slots of the hub's own: one, or two while it changes its key. */
  #own: readonly number[] = [];
  #hashes: Bucket | undefined;

  constructor(primitives: Primitives) {
    this.#primitives = primitives;
  }

  #allTags(): Tags {
    this.#tags ??= new Tags(MOST_NODES);
    return this.#tags;
  }

  /** setOwn tells the hub's own keys, of each identity that it answers to. */
  setOwn(identities: readonly MacKeys[]): void {
    for (const slot of this.#own) this.#tags?.remove(slot);
    this.#own = identities.flatMap(({ mac1 }) => this.#allTags().add(mac1) ?? []);
  }

  /** newFindable returns what a node begins with; undefined when there are too many. `add` it. */
  newFindable(macKeys: MacKeys, nowMs: number): Findable | undefined {
    const slot = this.#allTags().add(macKeys.mac1);
    if (slot === undefined) return undefined;
    return {
      macKeys,
      slot,
      recent: [],
      recentHashes: new Bucket({ perSecond: RECENT_HASHES_PER_SECOND, burst: RECENT_HASH_BURST }, nowMs),
      searchHashes: new Bucket({ perSecond: SEARCH_HASHES_PER_SECOND, burst: SEARCH_HASH_BURST }, nowMs),
      cursor: 0,
    };
  }

  add(node: N): void {
    this.#slots[node.slot] = node;
  }

  remove(node: N): void {
    this.#slots[node.slot] = undefined;
    this.#tags?.remove(node.slot);
    for (const other of node.recent) forget(other, node);
  }

  /** met notes that two nodes talk: the next time either is the first that the other is tried with. */
  met(a: N, b: N): void {
    remember(a, b);
    remember(b, a);
  }

  /** find returns whom an initiation of a node is for; `own` for the hub itself, `budget` when the node has no hashes left to find out. */
  find(source: N, datagram: Uint8Array, nowMs: number): N | "own" | "budget" | undefined {
    const tags = this.#allTags();
    tags.load(datagram);
    for (const slot of this.#own) if (tags.matches(slot)) return "own";
    const recent = source.recent as N[];
    for (let i = recent.length - 1; i >= 0; i--) {
      const node = recent[i] as N;
      // It was removed, by one who had forgotten us; perhaps it is back as another.
      if (this.#slots[node.slot] !== node) {
        recent.splice(i, 1);
        continue;
      }
      const isFree = recent.length - i <= MOST_AT_ONCE;
      if (!isFree && !this.#afford(source.recentHashes, LANES, nowMs)) return "budget";
      if (tags.matches(node.slot) && this.#isFor(datagram, node)) return node;
    }
    return this.#search(source, datagram, nowMs);
  }

  /** Tries all others, from where the last search had to stop. */
  #search(source: N, datagram: Uint8Array, nowMs: number): N | "budget" | undefined {
    const tags = this.#allTags();
    const { size } = tags;
    let at = source.cursor < size ? source.cursor : 0;
    for (let left = size; left > 0;) {
      const may = Math.min(source.searchHashes.left(nowMs), this.#global(nowMs).left(nowMs), left, size - at);
      if (may <= 0) {
        source.cursor = at;
        return "budget";
      }
      const slot = tags.find(at, at + may);
      const tried = slot === undefined ? may : slot + 1 - at;
      source.searchHashes.take(tried);
      this.#global(nowMs).take(tried);
      left -= tried;
      at = at + tried >= size ? 0 : at + tried;
      const node = slot === undefined ? undefined : this.#slots[slot];
      if (node === undefined || !this.#isFor(datagram, node)) continue;
      source.cursor = 0;
      return node;
    }
    source.cursor = 0;
    return undefined;
  }

  #afford(bucket: Bucket, hashes: number, nowMs: number): boolean {
    const all = this.#global(nowMs);
    if (bucket.left(nowMs) < hashes || all.left(nowMs) < hashes) return false;
    bucket.take(hashes);
    all.take(hashes);
    return true;
  }

  #global(nowMs: number): Bucket {
    this.#hashes ??= new Bucket({ perSecond: HASHES_PER_SECOND, burst: HASH_BURST }, nowMs);
    return this.#hashes;
  }

  #isFor(datagram: Uint8Array, { macKeys: own }: Findable): boolean {
    return hasMac1(datagram, { primitives: this.#primitives, own });
  }
}

function remember(node: Findable, other: Findable): void {
  forget(node, other);
  node.recent.push(other);
  if (node.recent.length > MOST_RECENT) node.recent.shift();
}

function forget({ recent }: Findable, other: Findable): void {
  const at = recent.indexOf(other);
  if (at >= 0) recent.splice(at, 1);
}
