/**
 * Packets of one turn, sorted by association, so that each association's are sealed or opened by one call however they came mixed.
 *
 * ```
 * came:    a1 b1 a2 c1 b2 …          turn of at most 64
 * groups:  a: 1 ─▶ 2   b: 1 ─▶ 2   c: 1        packets of one association keep their order
 * ```
 */
import { AEAD_BATCH } from "../../sys/mod.ts";

const NONE = -1;

/** Group is what an association keeps of a turn: the numbers of its first and last packet. */
export interface Group {
  first: number;
  last: number;
  count: number;
}

/** newGroup returns an empty one. */
export function newGroup(): Group {
  return { first: NONE, last: NONE, count: 0 };
}

/** PacketGroups makes no objects after it was made. */
export class PacketGroups<Owner extends { readonly group: Group }> {
  readonly #at = new Int32Array(AEAD_BATCH);
  readonly #bytes = new Int32Array(AEAD_BATCH);
  readonly #next = new Int32Array(AEAD_BATCH);
  readonly #owners: (Owner | undefined)[] = Array.from({ length: AEAD_BATCH });
  #count = 0;
  /** How many owners have packets. */
  owners = 0;

  /** Whether no more can be added before `clear`. */
  get isFull(): boolean {
    return this.#count === AEAD_BATCH;
  }

  /** add appends a packet to its owner's. */
  add(owner: Owner, at: number, bytes: number): void {
    const index = this.#count++;
    this.#at[index] = at;
    this.#bytes[index] = bytes;
    this.#next[index] = NONE;
    const { group } = owner;
    if (group.count++ === 0) {
      group.first = index;
      this.#owners[this.owners++] = owner;
    } else this.#next[group.last] = index;
    group.last = index;
  }

  /** owner returns one that has packets. */
  owner(index: number): Owner {
    return this.#owners[index] as Owner;
  }

  /** next is the packet of the same owner that follows; less than 0 after the last. */
  next(packet: number): number {
    return this.#next[packet] as number;
  }

  at(packet: number): number {
    return this.#at[packet] as number;
  }

  bytes(packet: number): number {
    return this.#bytes[packet] as number;
  }

  /** cut leaves to an owner the first packets that a limit admits, all together, and returns how many it takes away. */
  cut(owner: Owner, limit: { admits(packets: number, bytes: number): boolean }): number {
    const { group } = owner;
    let kept = 0;
    let bytes = 0;
    let last = NONE;
    for (let packet = group.first; packet >= 0; packet = this.next(packet)) {
      bytes += this.bytes(packet);
      if (!limit.admits(kept + 1, bytes)) break;
      kept++;
      last = packet;
    }
    const cut = group.count - kept;
    if (last === NONE) group.first = NONE;
    else this.#next[last] = NONE;
    group.last = last;
    group.count = kept;
    return cut;
  }

  /** clear forgets all packets. */
  clear(): void {
    for (let i = 0; i < this.owners; i++) {
      const { group } = this.#owners[i] as Owner;
      group.count = 0;
      this.#owners[i] = undefined;
    }
    this.owners = 0;
    this.#count = 0;
  }
}
