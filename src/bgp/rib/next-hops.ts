/**
 * NextHops: the next hops that routes have, by number, and what is known of them: whether they can be reached, and how far they are. Nobody
 * is asked on the hot path: the owner of the RIB says so when it changes, and the RIB decides again where that matters.
 */
import { ByteTable } from "./byte-table.ts";
import { wider } from "./column.ts";

/** NextHopState is what the network says of a next hop: the metric of the route to it, smaller is nearer. */
export interface NextHopState {
  readonly valid: boolean;
  readonly metric: number;
}

/** NextHops owns the table. Number 0 is no next hop: valid, metric 0. */
export class NextHops {
  /** 1 where routes by this next hop may be used. */
  valid = new Uint8Array(64).fill(1);
  metric = new Uint32Array(64);
  /** Told when the first route has a next hop, and when the last one is gone. */
  onUse: ((id: number, isUsed: boolean) => void) | undefined;
  readonly #table = new ByteTable({ segmentBits: 0 });
  readonly #unknown: NextHopState;
  #references = new Uint32Array(64);
  /** 1 where something was said. */
  #isSaid = new Uint8Array(64);

  /** `unknown` is what is taken for a next hop of which nothing was said: default valid, metric 0. */
  constructor(unknown: NextHopState = { valid: true, metric: 0 }) {
    this.#unknown = unknown;
  }

  /** intern returns the number of a next hop and counts a reference. */
  intern(bytes: Uint8Array, at: number, length: number): number {
    const id = this.#add(bytes, at, length);
    const references = (this.#references[id] as number) + 1;
    this.#references[id] = references;
    if (references === 1) this.onUse?.(id, true);
    return id;
  }

  /** release gives a reference up. What was said of the next hop stays. */
  release(id: number): void {
    const references = (this.#references[id] as number) - 1;
    this.#references[id] = references;
    if (references > 0) return;
    this.onUse?.(id, false);
    if (this.#isSaid[id] === 0) this.#table.remove(id);
  }

  /** set notes what is known of a next hop, and keeps it until it is said to be unknown; returns its number, 0 where that changes nothing. */
  set(bytes: Uint8Array, state: NextHopState | undefined): number {
    const id = this.#add(bytes, 0, bytes.length);
    this.#isSaid[id] = state === undefined ? 0 : 1;
    const { valid, metric } = state ?? this.#unknown;
    const differs = this.valid[id] !== (valid ? 1 : 0) || this.metric[id] !== metric;
    this.valid[id] = valid ? 1 : 0;
    this.metric[id] = metric;
    if (this.#references[id] === 0) {
      if (state === undefined) this.#table.remove(id);
      return 0;
    }
    return differs ? id : 0;
  }

  /** bytesOf returns a next hop as a copy. */
  bytesOf(id: number): Uint8Array<ArrayBuffer> {
    return this.#table.copyOf(id);
  }

  /** all returns every next hop that routes have, or that something was said of. */
  all(): Uint8Array<ArrayBuffer>[] {
    const found: Uint8Array<ArrayBuffer>[] = [];
    for (let id = 1; id < this.#table.end; id++) if (this.#table.has(id)) found.push(this.#table.copyOf(id));
    return found;
  }

  /** order compares two next hops as addresses: negative where the first is lower. */
  order(one: number, other: number): number {
    if (one === other || one === 0 || other === 0) return one === other ? 0 : one - other;
    const length = this.#table.lengthOf(one);
    const difference = length - this.#table.lengthOf(other);
    if (difference !== 0) return difference;
    const a = this.#table.memoryOf(one);
    const b = this.#table.memoryOf(other);
    const aAt = this.#table.offsetIn(one);
    const bAt = this.#table.offsetIn(other);
    for (let i = 0; i < length; i++) {
      const step = (a[aAt + i] as number) - (b[bAt + i] as number);
      if (step !== 0) return step;
    }
    return 0;
  }

  #add(bytes: Uint8Array, at: number, length: number): number {
    const before = this.#table.size;
    const id = this.#table.add(bytes, at, length);
    if (id === 0) throw new RangeError("Cannot number another next hop: the table is full");
    if (this.#table.capacity > this.#references.length) this.#grow();
    if (this.#table.size > before) {
      this.#references[id] = 0;
      this.#isSaid[id] = 0;
      this.valid[id] = this.#unknown.valid ? 1 : 0;
      this.metric[id] = this.#unknown.metric;
    }
    return id;
  }

  #grow(): void {
    const capacity = this.#table.capacity;
    this.#isSaid = wider(this.#isSaid, capacity);
    this.#references = wider(this.#references, capacity);
    this.valid = wider(this.valid, capacity);
    this.metric = wider(this.metric, capacity);
  }
}
