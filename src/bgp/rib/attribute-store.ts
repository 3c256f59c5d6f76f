/**
 * AttributeStore: each set of path attributes once, in the canonical bytes of wire, with a number, a count of references, and columns
 * of what path selection asks. Numbers are used again; `generation` tells a number's lives apart, for caches.
 */
import { emptyRank, type OwnIdentity, rankOf } from "./attribute-rank.ts";
import { ByteTable } from "./byte-table.ts";
import { wider } from "./column.ts";
import type { NextHops } from "./next-hops.ts";

/** AttributeStore owns the sets. Number 0 is none. */
export class AttributeStore {
  readonly own: OwnIdentity;
  nextHop = new Uint32Array(64);
  localPreference = new Uint32Array(64);
  pathLength = new Uint16Array(64);
  origin = new Uint8Array(64);
  med = new Uint32Array(64);
  firstAs = new Uint32Array(64);
  originator = new Uint32Array(64);
  clusters = new Uint16Array(64);
  mobility = new Uint32Array(64);
  /** RANK_FLAG. */
  flags = new Uint16Array(64);
  /** How often the own AS is in the path; 255 for a reflection loop, which no option allows. */
  loops = new Uint8Array(64);
  generation = new Uint32Array(64);
  readonly #table = new ByteTable({ segmentBits: 6 });
  readonly #nextHops: NextHops;
  readonly #rank = emptyRank();
  #references = new Uint32Array(64);

  constructor(own: OwnIdentity, nextHops: NextHops) {
    this.own = own;
    this.#nextHops = nextHops;
  }

  /** How many sets there are. */
  get size(): number {
    return this.#table.size;
  }

  /** One more than the largest number ever given: what columns beside this one need room for. */
  get end(): number {
    return this.#table.end;
  }

  /** intern returns the number of a set, with a reference for the caller; 0 when the store is full. */
  intern(canonical: Uint8Array, at: number, length: number): number {
    const before = this.#table.size;
    const id = this.#table.add(canonical, at, length);
    if (id === 0) return 0;
    if (this.#table.size === before) {
      this.#references[id] = (this.#references[id] as number) + 1;
      return id;
    }
    if (this.#table.capacity > this.#references.length) this.#grow();
    this.#references[id] = 1;
    this.#describe(id, canonical, at, length);
    return id;
  }

  /** hold counts a reference. */
  hold(id: number): void {
    this.#references[id] = (this.#references[id] as number) + 1;
  }

  /** release gives a reference up; 0 is nothing. */
  release(id: number): void {
    if (id === 0) return;
    const references = (this.#references[id] as number) - 1;
    this.#references[id] = references;
    if (references > 0) return;
    const nextHop = this.nextHop[id] as number;
    if (nextHop !== 0) this.#nextHops.release(nextHop);
    this.generation[id] = ((this.generation[id] as number) + 1) >>> 0;
    this.#table.remove(id);
  }

  /** memoryOf returns the memory in which a set's canonical bytes lie, at `offsetIn(id)`. */
  memoryOf(id: number): Uint8Array<ArrayBuffer> {
    return this.#table.memoryOf(id);
  }

  /** offsetIn is where in its memory a set begins. */
  offsetIn(id: number): number {
    return this.#table.offsetIn(id);
  }

  /** lengthOf is how many bytes a set has. */
  lengthOf(id: number): number {
    return this.#table.lengthOf(id);
  }

  /** copyOf returns a set's canonical bytes as a copy. */
  copyOf(id: number): Uint8Array<ArrayBuffer> {
    return this.#table.copyOf(id);
  }

  /** references tells how many hold a set; for tests. */
  references(id: number): number {
    return this.#table.has(id) ? (this.#references[id] as number) : 0;
  }

  #describe(id: number, bytes: Uint8Array, at: number, length: number): void {
    const rank = this.#rank;
    rankOf(rank, this.own, bytes, at, at + length);
    const nextHopBytes = bytes[at] as number;
    this.nextHop[id] = nextHopBytes === 0 ? 0 : this.#nextHops.intern(bytes, at + 1, nextHopBytes);
    this.localPreference[id] = rank.localPreference;
    this.pathLength[id] = rank.pathLength;
    this.origin[id] = rank.origin;
    this.med[id] = rank.med;
    this.firstAs[id] = rank.firstAs;
    this.originator[id] = rank.originator;
    this.clusters[id] = rank.clusters;
    this.mobility[id] = rank.mobility;
    this.flags[id] = rank.flags;
    this.loops[id] = rank.ownReflection ? 255 : Math.min(254, rank.ownAsCount);
  }

  #grow(): void {
    const capacity = this.#table.capacity;
    this.#references = wider(this.#references, capacity);
    this.nextHop = wider(this.nextHop, capacity);
    this.localPreference = wider(this.localPreference, capacity);
    this.pathLength = wider(this.pathLength, capacity);
    this.origin = wider(this.origin, capacity);
    this.med = wider(this.med, capacity);
    this.firstAs = wider(this.firstAs, capacity);
    this.originator = wider(this.originator, capacity);
    this.clusters = wider(this.clusters, capacity);
    this.mobility = wider(this.mobility, capacity);
    this.flags = wider(this.flags, capacity);
    this.loops = wider(this.loops, capacity);
    this.generation = wider(this.generation, capacity);
  }
}
