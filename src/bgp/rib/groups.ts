/**
 * Groups: who is in which update group of one table, and when groups are made, left and joined.
 *
 * ```
 *  session up        → a group that begins with nothing (shared by those who come before it begins) ─┐
 *  asks for a refresh → a group that knows what the old one knew, and tells all again               ├─ nothing left to tell → the main group
 *  lags for long     → a group that knows what the old one knew, and goes its own pace ─────────────┘   of the same export
 * ```
 */
import { encodeRefresh, REFRESH } from "../wire/mod.ts";
import { ALL, type GroupLog, only } from "./group-log.ts";
import { newPeerTable, type PeerTable, type RibPeer, type Segment } from "./peer.ts";
import { type GroupContext, type GroupExport, UpdateGroup } from "./update-group.ts";

/** GroupLimits bound what a group holds for peers that are slow. */
export interface GroupLimits {
  /** A log of that many bytes is full: nothing is added before the slowest peer has read some. Default 1 MiB. */
  readonly mostLogBytes?: number;
  /** How long a full log is waited for while other peers have nothing to read; then those who lag go into a group of their own. Default 250. */
  readonly patienceMs?: number;
  /** How many such groups there may be in a table; beyond it the others wait, until the session's send hold timer ends it. Default 8. */
  readonly mostSlowGroups?: number;
}

/** Groups owns the update groups of one table. */
export class Groups {
  readonly #context: GroupContext;
  readonly #mostLogBytes: number;
  readonly #patienceMs: number;
  readonly #mostSlowGroups: number;
  readonly #main = new Map<string, UpdateGroup>();
  readonly #wakePeer: (peer: RibPeer) => void;
  /** Who has a turn next. */
  #turn = 0;

  /** `wake` is told of peers that have something to read and had nothing. */
  constructor(context: GroupContext, limits: GroupLimits, wake: (peer: RibPeer) => void) {
    this.#context = context;
    this.#mostLogBytes = limits.mostLogBytes ?? 1 << 20;
    this.#patienceMs = limits.patienceMs ?? 250;
    this.#mostSlowGroups = limits.mostSlowGroups ?? 8;
    this.#wakePeer = wake;
  }

  /** All groups, the ones that have yet to join included. */
  get all(): readonly UpdateGroup[] {
    return this.#context.table.groups;
  }

  /** join takes a peer in that knows nothing. */
  join(peer: RibPeer, exports: GroupExport): void {
    let group = this.all.find(
      ({ export: { key }, ending, version, leftFrom }) =>
        key === exports.key && ending === "endOfRib" && version === 0 && leftFrom === undefined,
    );
    if (group === undefined) {
      group = this.#add(new UpdateGroup(exports, this.#context, { ending: "endOfRib" }));
      group.markAll();
    }
    this.#enter(peer, group);
  }

  /** leave takes a peer out; what it has not read is forgotten. */
  leave(peer: RibPeer): void {
    const state = this.#state(peer);
    const { group } = state;
    if (group === undefined) return;
    for (const { log, reader } of state.segments.splice(0)) log.leave(reader);
    state.group = undefined;
    group.members.delete(peer);
    this.#removeIfEmpty(group);
  }

  /** rejoin lets a peer go on with another export: it is told what differs, and then `ending`. */
  rejoin(peer: RibPeer, exports: GroupExport, ending?: "endOfAnswer"): void {
    const { group } = this.#state(peer);
    if (group === undefined || group.export.key === exports.key) return;
    const split = new UpdateGroup(exports, this.#context, { group, ending: group.ending ?? ending });
    this.#add(split);
    split.markAll();
    this.#move(peer, split);
  }

  /** refresh tells a peer everything again (RFC 2918), between marks where both sides know them (RFC 7313). */
  refresh(peer: RibPeer): void {
    const { group } = this.#state(peer);
    // A dump that is under way tells everything anyway.
    if (group === undefined || group.ending === "endOfRib" || group.ending === "endOfRefresh") return;
    const marks = peer.session?.enhancedRefresh === true;
    let split = this.all.find(
      (other) =>
        other.force !== undefined &&
        other.version === 0 &&
        other.leftFrom?.group === group &&
        other.leftFrom.version === group.version &&
        (other.ending === "endOfRefresh") === marks,
    );
    if (split === undefined) {
      const ending = marks ? ("endOfRefresh" as const) : undefined;
      split = this.#add(new UpdateGroup(group.export, this.#context, { group, ending, force: true }));
      split.markAll();
    }
    this.#move(peer, split);
    if (marks) {
      this.#mark(split.log, REFRESH.begin, only(peer.number));
      this.#wake(split);
    }
  }

  /** work tells up to `most` destinations of the groups that have something to tell and room; true when there is more to do at once. */
  work(nowMs: number, most: number): boolean {
    const groups = this.all;
    let left = most;
    let more = false;
    // A copy of the list is not needed: groups that go away or come are met the next time.
    for (let i = 0; i < groups.length && left > 0; i++) {
      const group = groups[(this.#turn + i) % groups.length] as UpdateGroup;
      if (this.#isAtRest(group) || !this.#hasRoom(group, nowMs)) continue;
      left -= group.encode(Math.min(left, Math.max(64, most >>> 1)));
      // What is not selected yet belongs before the End-of-RIB too.
      const isTold = group.ending === undefined || this.#context.table.changed.size === 0;
      if (group.dirty.size === 0 && isTold && !this.#isHeld(group)) this.#end(group);
      // It has begun: nobody comes along any more, and the other group may go.
      if (group.version > 0) group.leftFrom = undefined;
      this.#wake(group);
      more ||= !this.#isAtRest(group);
    }
    this.#turn++;
    this.#joinIdle();
    return more || left <= 0;
  }

  /** Whether some group has something to tell; it may be waiting for its peers. */
  get isBusy(): boolean {
    return this.all.some((group) => !this.#isAtRest(group));
  }

  #isAtRest(group: UpdateGroup): boolean {
    return group.isIdle || (group.dirty.size === 0 && this.#isHeld(group));
  }

  #isHeld({ ending }: UpdateGroup): boolean {
    return ending === "endOfRib" && this.#context.holdsEnds();
  }

  #state(peer: RibPeer): PeerTable {
    const { index } = this.#context.table;
    peer.tables[index] ??= newPeerTable();
    return peer.tables[index];
  }

  #add(group: UpdateGroup): UpdateGroup {
    this.#context.table.groups.push(group);
    return group;
  }

  #enter(peer: RibPeer, group: UpdateGroup): void {
    const state = this.#state(peer);
    group.members.add(peer);
    state.group = group;
    state.segments.push({ log: group.log, reader: group.log.tail() });
    if (group.log.lag((state.segments.at(-1) as Segment).reader) > 0) this.#wake(group);
  }

  /** Lets a peer go on in another group, behind what it has yet to read of this one. */
  #move(peer: RibPeer, to: UpdateGroup): void {
    const state = this.#state(peer);
    const from = state.group as UpdateGroup;
    const last = state.segments.pop() as Segment;
    if (last.log.lag(last.reader) > 0)
      state.segments.push({ log: last.log.rest(last.reader), reader: last.reader });
    else last.log.leave(last.reader);
    from.members.delete(peer);
    this.#enter(peer, to);
    this.#removeIfEmpty(from);
  }

  #removeIfEmpty(group: UpdateGroup): void {
    if (group.members.size > 0) return;
    const { table } = this.#context;
    table.groups.splice(table.groups.indexOf(group), 1);
    if (this.#main.get(group.export.key) === group) this.#main.delete(group.export.key);
    group[Symbol.dispose]();
    // What only this group still had to withdraw.
    for (let id = group.dirty.next(0); id >= 0; id = group.dirty.next(id + 1))
      if (table.keys.has(id)) table.reap(id);
  }

  /** Whether a group may write; where its slowest peers block it for long, they are taken out. */
  #hasRoom(group: UpdateGroup, nowMs: number): boolean {
    // Those who lagged read what they have before more is made for them: until then changes fold together.
    if (group.leftFrom !== undefined && group.version === 0)
      for (const peer of group.members) if (this.#state(peer).segments.length > 1) return false;
    if (!this.#isFull(group)) {
      group.fullSinceMs = undefined;
      return true;
    }
    group.fullSinceMs ??= nowMs;
    if (nowMs - group.fullSinceMs < this.#patienceMs) return false;
    this.#split(group);
    group.fullSinceMs = undefined;
    return !this.#isFull(group);
  }

  #isFull(group: UpdateGroup): boolean {
    // What all have read is held too, until its chunk is left by all: readers are asked only where that may matter.
    if (group.log.heldBytes < this.#mostLogBytes) return false;
    for (const peer of group.members) {
      const { log, reader } = this.#state(peer).segments.at(-1) as Segment;
      if (log.lag(reader) >= this.#mostLogBytes) return true;
    }
    return false;
  }

  #split(group: UpdateGroup): void {
    const slow: RibPeer[] = [];
    let isAnyFast = false;
    for (const peer of group.members) {
      const { log, reader } = this.#state(peer).segments.at(-1) as Segment;
      const lag = log.lag(reader);
      if (lag > this.#mostLogBytes / 2) slow.push(peer);
      else if (lag < this.#mostLogBytes / 8) isAnyFast = true;
    }
    const slowGroups = this.all.filter(({ isSplit }) => isSplit).length;
    if (!isAnyFast || slow.length === 0 || slowGroups >= this.#mostSlowGroups) return;
    const { ending } = group;
    const split = this.#add(
      new UpdateGroup(group.export, this.#context, { group, ending, force: group.force !== undefined }),
    );
    split.markAs(group);
    for (const peer of slow) this.#move(peer, split);
  }

  #end(group: UpdateGroup): void {
    if (group.ending === "endOfRefresh") this.#mark(group.log, REFRESH.end, ALL);
    else if (group.ending !== undefined) this.#context.encoder.endOfRib(group.log, group.export.form.family);
    group.ending = undefined;
    group.version++;
  }

  #mark(log: GroupLog, subtype: number, condition: number): void {
    const message = encodeRefresh({ family: this.#context.table.family, subtype });
    const out = log.room(message.length);
    out.set(message, log.roomAt());
    log.commit(message.length, condition);
  }

  /** Lets groups that have told all join the main group of their export, or become it. */
  #joinIdle(): void {
    const groups = this.all;
    for (let i = groups.length - 1; i >= 0; i--) {
      const group = groups[i] as UpdateGroup;
      if (!group.isIdle) continue;
      const main = this.#main.get(group.export.key);
      if (main === group) continue;
      if (main === undefined) this.#main.set(group.export.key, group);
      else if (main.isIdle) for (const peer of [...group.members]) this.#move(peer, main);
    }
  }

  #wake(group: UpdateGroup): void {
    for (const peer of group.members) {
      if (!peer.drained) continue;
      peer.drained = false;
      this.#wakePeer(peer);
    }
  }
}
