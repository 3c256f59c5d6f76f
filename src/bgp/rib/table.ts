/**
 * RibTable: all routes of one family. A destination is a number with a key (ByteTable) and a chain of paths; nothing else is kept for it.
 *
 * What arrives only marks destinations as changed; `decide` takes them in slices, so that a flood of updates, or a route that flaps, is
 * decided once. A path that was withdrawn stays in the chain as `gone` until add-path groups have told their peers; a destination stays
 * until no group believes anything of it.
 *
 * What a route reflector told that is away stays as long as nothing newer is known (RFC 4724, RFC 9494): not longer than until the origin itself,
 * or a reflector that is there, says something else of the same route of the same origin.
 */
import type { BgpFamily } from "../wire/mod.ts";
import { RANK_FLAG } from "./attribute-rank.ts";
import type { AttributeStore } from "./attribute-store.ts";
import { BitSet } from "./bit-set.ts";
import { ByteTable } from "./byte-table.ts";
import { wider } from "./column.ts";
import type { Decision } from "./decision.ts";
import type { Interned } from "./interned.ts";
import { MOST_PATHS, PATH_FLAG, Paths } from "./paths.ts";
import type { PeerTable, RibPeer } from "./peer.ts";
import type { UpdateGroup } from "./update-group.ts";

/** TableContext is what all tables share. */
export interface TableContext {
  readonly store: AttributeStore;
  readonly extras: Interned;
  readonly decision: Decision;
  readonly peers: readonly (RibPeer | undefined)[];
}

/** Announcement is what a path is made of. It is reused. */
export interface Announcement {
  peer: number;
  pathId: number;
  received: number;
  accepted: number;
  extra: number;
  seconds: number;
}

/** BestListener is told of destinations whose best paths changed; `had` says whether there was one before. */
export type BestListener = (table: RibTable, destination: number, had: boolean) => void;

/** RibTable owns destinations and paths of a family. */
export class RibTable {
  readonly family: BgpFamily;
  /** Its place among the tables, and in what peers keep by table. */
  readonly index: number;
  readonly keys = new ByteTable({ segmentBits: 8 });
  readonly paths = new Paths();
  /** First path of each destination: the best one, where there is one. */
  first = new Uint32Array(64);
  /** Destinations to be decided. */
  readonly changed = new BitSet();
  readonly groups: UpdateGroup[] = [];
  /** Destinations that have a best path. */
  bestCount = 0;
  readonly listeners: BestListener[] = [];
  /** Those peers, by what they are here, that may have stale paths. */
  readonly keeping = new Set<PeerTable>();
  readonly #context: TableContext;
  /** Where the next slice of `decide` begins: in turns, so that nobody waits for what keeps changing. */
  #from = 0;
  readonly #decided: number[] = [];

  constructor(family: BgpFamily, index: number, context: TableContext) {
    this.family = family;
    this.index = index;
    this.#context = context;
  }

  /** pathOf returns the path that a peer announced for a destination, 0 when there is none. One that is gone counts: it is used again. */
  pathOf(destination: number, peer: number, pathId: number): number {
    const { next, peer: peers, pathId: ids } = this.paths;
    let path = this.first[destination] as number;
    while (path !== 0 && (peers[path] !== peer || ids[path] !== pathId)) path = next[path] as number;
    return path;
  }

  /** put takes an announcement; false when the table is full. `counts` are the peer's. */
  put(key: Uint8Array, keyBytes: number, announcement: Announcement, counts: PeerTable): boolean {
    const destination = this.keys.add(key, 0, keyBytes);
    if (destination === 0) return false;
    if (this.keys.capacity > this.first.length) this.#grow();
    const { store, extras } = this.#context;
    const { peer, pathId, received, accepted, extra } = announcement;
    let path = this.first[destination] === 0 ? 0 : this.pathOf(destination, peer, pathId);
    const { paths } = this;
    let counted = accepted !== 0;
    if (path === 0) {
      if (paths.end >= MOST_PATHS) return false;
      path = this.#link(destination);
      paths.peer[path] = peer;
      paths.pathId[path] = pathId;
      counts.routes++;
    } else if (((paths.flags[path] as number) & PATH_FLAG.gone) !== 0) counts.routes++;
    else if (
      paths.received[path] === received &&
      paths.accepted[path] === accepted &&
      paths.extra[path] === extra
    ) {
      // Said again, as after a restart: it is no longer stale, and that is all.
      paths.epoch[path] = counts.epoch;
      paths.flags[path] = (paths.flags[path] as number) & ~PATH_FLAG.longLived;
      return true;
    } else if (paths.accepted[path] !== 0) {
      counts.accepted--;
      counted = true;
    }
    if (accepted !== 0) counts.accepted++;
    store.hold(received);
    if (accepted !== 0) store.hold(accepted);
    extras.hold(extra);
    this.#drop(path);
    paths.received[path] = received;
    paths.accepted[path] = accepted;
    paths.extra[path] = extra;
    paths.epoch[path] = counts.epoch;
    paths.sinceSeconds[path] = announcement.seconds;
    paths.flags[path] =
      ((paths.flags[path] as number) & ~(PATH_FLAG.gone | PATH_FLAG.longLived)) | PATH_FLAG.changed;
    this.changed.add(destination);
    if (counted) this.#outdate(path, counts);
    return true;
  }

  /** withdraw takes a path back; nothing happens where there is none. */
  withdraw(key: Uint8Array, keyBytes: number, pathId: number, counts: PeerTable, peer: number): void {
    const destination = this.keys.find(key, 0, keyBytes);
    if (destination === 0) return;
    const path = this.pathOf(destination, peer, pathId);
    if (path !== 0) this.remove(path, counts);
  }

  /** remove takes a path back. */
  remove(path: number, counts: PeerTable): void {
    const { paths } = this;
    if (((paths.flags[path] as number) & PATH_FLAG.gone) !== 0) return;
    this.#leave(path, counts);
    if (paths.accepted[path] !== 0) this.#outdate(path, counts);
  }

  #leave(path: number, counts: PeerTable): void {
    const { paths } = this;
    paths.flags[path] = (paths.flags[path] as number) | PATH_FLAG.gone;
    counts.routes--;
    if (paths.accepted[path] !== 0) counts.accepted--;
    this.changed.add(paths.destination[path] as number);
  }

  /** accept replaces what a path is used with: another policy, or long-lived staleness. Takes over the reference to `accepted`. */
  accept(path: number, accepted: number, counts: PeerTable): void {
    const { paths } = this;
    const before = paths.accepted[path] as number;
    this.#context.store.release(before);
    if (before === accepted) return;
    if (before === 0) counts.accepted++;
    if (accepted === 0) counts.accepted--;
    paths.accepted[path] = accepted;
    paths.flags[path] = (paths.flags[path] as number) | PATH_FLAG.changed;
    this.changed.add(paths.destination[path] as number);
    if (accepted === 0) this.#outdate(path, counts);
  }

  /** There is news of a path: what reflectors that are away told of the same route of the same origin is not true any more. */
  #outdate(news: number, counts: PeerTable): void {
    if (this.keeping.size === 0) return;
    const { paths } = this;
    const { store, peers } = this.#context;
    const isReflected = (path: number) =>
      ((store.flags[paths.received[path] as number] as number) & RANK_FLAG.hasOriginator) !== 0;
    // One that is away itself has no news: it is forgotten because of its age.
    if (isReflected(news) && !counts.active) return;
    const originOf = (path: number) =>
      isReflected(path)
        ? store.originator[paths.received[path] as number]
        : peers[paths.peer[path] as number]?.routerId;
    const origin = originOf(news);
    const first = this.first[paths.destination[news] as number] as number;
    for (let path = first; path !== 0; path = paths.next[path] as number) {
      if (path === news || ((paths.flags[path] as number) & PATH_FLAG.gone) !== 0) continue;
      const kept = peers[paths.peer[path] as number]?.tables[this.index];
      if (kept === undefined || !this.keeping.has(kept) || paths.epoch[path] === kept.epoch) continue;
      if (isReflected(path) && originOf(path) === origin) this.#leave(path, kept);
    }
  }

  /** decide chooses the best paths of up to `most` changed destinations, and tells groups and listeners; returns how many there were. */
  decide(most: number): number {
    const decided = this.#decided;
    decided.length = 0;
    let from = this.#from;
    while (decided.length < most && this.changed.size > 0) {
      let destination = this.changed.next(from);
      if (destination < 0) destination = this.changed.next(0);
      from = destination + 1;
      this.changed.delete(destination);
      decided.push(destination);
      this.#decideOne(destination);
    }
    this.#from = from;
    for (let i = 0; i < decided.length; i++) this.reap(decided[i] as number);
    return decided.length;
  }

  /** reap forgets paths that are gone and that no add-path group still believes, and then the destination, when nobody has anything of it. */
  reap(destination: number): void {
    for (let i = 0; i < this.groups.length; i++) {
      const group = this.groups[i] as UpdateGroup;
      if (group.addPath !== undefined && group.dirty.has(destination)) return;
    }
    // A path that went away since it was decided is decided first.
    if (this.changed.has(destination)) return;
    const { paths } = this;
    let before = 0;
    let path = this.first[destination] as number;
    while (path !== 0) {
      const next = paths.next[path] as number;
      if (((paths.flags[path] as number) & PATH_FLAG.gone) === 0) before = path;
      else {
        if (before === 0) this.first[destination] = next;
        else paths.next[before] = next;
        this.#drop(path);
        paths.give(path);
      }
      path = next;
    }
    if (this.first[destination] !== 0 || !this.keys.has(destination)) return;
    for (let i = 0; i < this.groups.length; i++)
      if ((this.groups[i] as UpdateGroup).holds(destination)) return;
    this.keys.remove(destination);
  }

  /** bestOf returns the best path of a destination, 0 when there is none. */
  bestOf(destination: number): number {
    const path = this.first[destination] as number;
    return path !== 0 && ((this.paths.flags[path] as number) & PATH_FLAG.best) !== 0 ? path : 0;
  }

  #decideOne(destination: number): void {
    const { paths } = this;
    const { decision } = this.#context;
    const old = this.bestOf(destination);
    const best = decision.select(this, destination);
    const most = decision.options.multipath ?? 1;
    let differs = best !== old || (best !== 0 && ((paths.flags[best] as number) & PATH_FLAG.changed) !== 0);
    for (let path = this.first[destination] as number; path !== 0; path = paths.next[path] as number) {
      const flags = paths.flags[path] as number;
      const place = most > 1 ? decision.equal.indexOf(path) : path === best ? 0 : -1;
      let now = flags & ~(PATH_FLAG.best | PATH_FLAG.multipath | PATH_FLAG.changed);
      if (path === best) now |= PATH_FLAG.best;
      if (place >= 0 && place < most) {
        now |= PATH_FLAG.multipath;
        if ((flags & PATH_FLAG.changed) !== 0) differs = true;
      }
      if (((now ^ flags) & PATH_FLAG.multipath) !== 0) differs = true;
      paths.flags[path] = now;
    }
    if (best !== old) this.#moveBest(destination, old, best);
    for (let i = 0; i < this.groups.length; i++) {
      const group = this.groups[i] as UpdateGroup;
      if (differs || group.addPath !== undefined) group.mark(destination);
    }
    if (differs)
      for (let i = 0; i < this.listeners.length; i++)
        (this.listeners[i] as BestListener)(this, destination, old !== 0);
  }

  #moveBest(destination: number, old: number, best: number): void {
    const { paths } = this;
    const { peers } = this.#context;
    if (old !== 0) this.#count(peers[paths.peer[old] as number], -1);
    if (best === 0) return;
    this.#count(peers[paths.peer[best] as number], 1);
    const head = this.first[destination] as number;
    if (head === best) return;
    let before = head;
    while (paths.next[before] !== best) before = paths.next[before] as number;
    paths.next[before] = paths.next[best] as number;
    paths.next[best] = head;
    this.first[destination] = best;
  }

  #count(peer: RibPeer | undefined, step: 1 | -1): void {
    this.bestCount += step;
    const counts = peer?.tables[this.index];
    if (counts !== undefined) counts.best += step;
  }

  /** A new path goes behind the first, whose place says that it is the best. */
  #link(destination: number): number {
    const { paths } = this;
    const path = paths.take(destination);
    const head = this.first[destination] as number;
    if (head === 0) this.first[destination] = path;
    else {
      paths.next[path] = paths.next[head] as number;
      paths.next[head] = path;
    }
    return path;
  }

  #drop(path: number): void {
    const { store, extras } = this.#context;
    const { paths } = this;
    store.release(paths.received[path] as number);
    store.release(paths.accepted[path] as number);
    extras.release(paths.extra[path] as number);
  }

  #grow(): void {
    this.first = wider(this.first, this.keys.capacity);
    this.changed.reserve(this.keys.capacity);
  }
}
