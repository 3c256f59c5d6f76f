/**
 * UpdateGroup: the peers that are sent the same in one family. What they were told is kept once (AdjOut), what is to be told them is a
 * set of destinations, and what is written for them is one log.
 *
 * A group begins in one of three ways: with peers that know nothing (all is to be told, then End-of-RIB), as the part of a group that
 * lags behind (knowing what that group knew), or as such a part that asked for all again. When it has nothing left to tell, it equals any
 * other group of the same export, and joins it: both say the same function of the same table.
 */
import { AdjOut } from "./adj-out.ts";
import type { AttributeMap } from "./attribute-map.ts";
import { RANK_FLAG } from "./attribute-rank.ts";
import { BitSet } from "./bit-set.ts";
import type { PeerKind } from "./export-attributes.ts";
import { ALL, allBut, type ChunkPool, GroupLog, only } from "./group-log.ts";
import type { Membership } from "./membership.ts";
import { isClient, LOCAL, type RibPeer } from "./peer.ts";
import type { PolicyCache } from "./policy.ts";
import type { RibTable, TableContext } from "./table.ts";
import type { Form, UpdateEncoder } from "./update-encoder.ts";

/** GroupExport is all that decides what a peer is sent: peers with the same one share a group. */
export interface GroupExport {
  /** Names the export: equal for equal exports. */
  readonly key: string;
  readonly form: Form;
  readonly addPath: "all" | number | undefined;
  /** The peers know LLGR. */
  readonly longLived: boolean;
  /** Applied in order; the caches are shared by groups. */
  readonly policies: readonly PolicyCache[];
  /** Takes MED out, for routes that were not made here. */
  readonly withoutMed: AttributeMap | undefined;
  /** Route targets that the peers want; undefined for all. */
  readonly membership: Membership | undefined;
}

/** GroupContext is what groups share. */
export interface GroupContext extends TableContext {
  readonly table: RibTable;
  readonly encoder: UpdateEncoder;
  readonly pool: ChunkPool;
  /** Whether the End-of-RIB of an initial dump has to wait. */
  readonly holdsEnds: () => boolean;
}

/** What a group writes when it has told all that it began with: after the answer to wishes (RFC 4684) End-of-RIB too. */
export type Ending = "endOfRib" | "endOfRefresh" | "endOfAnswer" | undefined;

/** UpdateGroup owns what its peers were told. */
export class UpdateGroup {
  readonly export: GroupExport;
  readonly addPath: "all" | number | undefined;
  readonly kind: PeerKind;
  readonly members = new Set<RibPeer>();
  readonly log: GroupLog;
  readonly dirty = new BitSet();
  /** What is told again though it has not changed: a peer asked for it. */
  readonly force: BitSet | undefined;
  readonly adjOut: AdjOut;
  ending: Ending;
  /** Counts encoded slices: two peers that leave a group at the same count know the same. */
  version = 0;
  /** Group and its version at which this one left it, so that others may come along before it begins. */
  leftFrom: { readonly group: UpdateGroup; readonly version: number } | undefined;
  /** Whether it was made of a part of another group. */
  readonly isSplit: boolean;
  /** Since when the log has been full. */
  fullSinceMs: number | undefined;
  readonly #context: GroupContext;
  #from = 0;
  /** Numbers below this one fit into the sets. */
  #room = 0;
  readonly #told: number[] = [];
  readonly #ranked: number[] = [];
  readonly #refused: { destination: number; pathId: number; condition: number }[] = [];
  readonly #refuse = (destination: number, pathId: number, condition: number) =>
    void this.#refused.push({ destination, pathId, condition });

  constructor(
    exports: GroupExport,
    context: GroupContext,
    from: { readonly group?: UpdateGroup; readonly ending?: Ending; readonly force?: boolean } = {},
  ) {
    this.export = exports;
    this.addPath = exports.addPath;
    this.kind = exports.form.kind;
    this.#context = context;
    this.log = new GroupLog(context.pool);
    this.ending = from.ending;
    const { group } = from;
    this.adjOut = group?.adjOut.copy() ?? new AdjOut(context.store, context.extras);
    this.isSplit = group !== undefined;
    this.leftFrom = group === undefined ? undefined : { group, version: group.version };
    this.dirty.reserve(context.table.keys.capacity);
    this.force = from.force === true ? new BitSet() : undefined;
    this.force?.reserve(context.table.keys.capacity);
  }

  /** markAll makes all destinations to be told; with `force`, those already told too. */
  markAll(): void {
    const { keys } = this.#context.table;
    this.#reserve();
    for (let id = 1; id < keys.end; id++)
      if (keys.has(id)) {
        this.dirty.add(id);
        this.force?.add(id);
      }
  }

  /** markAs makes the destinations to be told that another group has to tell. */
  markAs(group: UpdateGroup): void {
    this.#reserve();
    for (let id = group.dirty.next(0); id >= 0; id = group.dirty.next(id + 1)) this.dirty.add(id);
    if (this.force === undefined || group.force === undefined) return;
    for (let id = group.force.next(0); id >= 0; id = group.force.next(id + 1)) this.force.add(id);
  }

  /** mark makes a destination to be told. */
  mark(destination: number): void {
    if (destination >= this.#room) this.#reserve();
    this.dirty.add(destination);
  }

  /** holds tells whether the group believes something of a destination, or has yet to look at it. */
  holds(destination: number): boolean {
    // With add-path it is paths that are told, and a destination without paths has none.
    return (
      this.dirty.has(destination) || (this.addPath === undefined && this.adjOut.attributes(destination) !== 0)
    );
  }

  /** Whether there is nothing to tell, and what is told at the end has been. */
  get isIdle(): boolean {
    return this.dirty.size === 0 && this.ending === undefined;
  }

  /** encode tells up to `most` destinations, and returns how many they were. */
  encode(most: number): number {
    const { encoder, table } = this.#context;
    const told = this.#told;
    told.length = 0;
    let from = this.#from;
    while (told.length < most && this.dirty.size > 0) {
      let destination = this.dirty.next(from);
      if (destination < 0) destination = this.dirty.next(0);
      from = destination + 1;
      this.dirty.delete(destination);
      told.push(destination);
      if (!table.keys.has(destination)) continue;
      if (this.addPath === undefined) this.#tell(destination);
      else this.#tellPaths(destination);
    }
    this.#from = from;
    if (encoder.waiting > 0) {
      this.version++;
      this.#flush();
    }
    for (let i = 0; i < told.length; i++) table.reap(told[i] as number);
    if (told.length > 0) this.version++;
    return told.length;
  }

  /** dispose gives up what the group knew, and its log; who has not read all has taken the rest along. */
  [Symbol.dispose](): void {
    this.log[Symbol.dispose]();
    this.adjOut[Symbol.dispose]();
  }

  #reserve(): void {
    this.#room = this.#context.table.keys.capacity;
    this.dirty.reserve(this.#room);
    this.force?.reserve(this.#room);
  }

  #flush(): void {
    const { encoder, table } = this.#context;
    const { form } = this.export;
    encoder.flush(this.log, form, table, this.#refuse);
    if (this.#refused.length === 0) return;
    for (const { destination, pathId, condition } of this.#refused.splice(0)) {
      this.adjOut.clear(form.pathIds ? pathId : destination);
      encoder.withdraw(destination, pathId, condition);
    }
    encoder.flush(this.log, form, table, this.#refuse);
  }

  /** Says what is to be said of a destination: nothing, a route, or that there is none any more. */
  #tell(destination: number): void {
    const { encoder, table } = this.#context;
    const { paths } = table;
    const { adjOut } = this;
    const best = table.bestOf(destination);
    const attributes = best === 0 ? 0 : this.#exported(best, destination);
    const before = adjOut.attributes(destination);
    const forced = this.#takeForced(destination);
    if (attributes === 0) {
      if (before === 0) return;
      encoder.withdraw(destination, 0, this.#allBut(adjOut.source(destination)));
      adjOut.clear(destination);
      return;
    }
    const source = paths.peer[best] as number;
    const extra = paths.extra[best] as number;
    if (before !== 0) {
      const sourceBefore = adjOut.source(destination);
      if (
        before === attributes &&
        adjOut.extra(destination) === extra &&
        sourceBefore === source &&
        !forced
      ) {
        this.#context.store.release(attributes);
        return;
      }
      // The new source believes the old route, and gets none from now on.
      if (sourceBefore !== source && this.#isMember(source)) encoder.withdraw(destination, 0, only(source));
    }
    encoder.announce(destination, 0, extra, attributes, source, this.#allBut(source));
    adjOut.set(destination, attributes, extra, source);
  }

  /** The same for all paths of a destination; the path's slot is its identifier. */
  #tellPaths(destination: number): void {
    const { encoder, table, decision, store } = this.#context;
    const { paths } = table;
    const { adjOut } = this;
    const most = this.addPath === "all" ? Number.POSITIVE_INFINITY : (this.addPath as number);
    const forced = this.#takeForced(destination);
    if (most !== Number.POSITIVE_INFINITY) decision.rank(table, destination, most, this.#ranked);
    for (let path = table.first[destination] as number; path !== 0; path = paths.next[path] as number) {
      const chosen =
        most === Number.POSITIVE_INFINITY ? decision.isEligible(table, path) : this.#ranked.includes(path);
      const attributes = chosen ? this.#exported(path, destination) : 0;
      const before = adjOut.attributes(path);
      const source = paths.peer[path] as number;
      const extra = paths.extra[path] as number;
      if (attributes === 0) {
        if (before === 0) continue;
        encoder.withdraw(destination, path, this.#allBut(source));
        adjOut.clear(path);
      } else if (before === attributes && adjOut.extra(path) === extra && !forced) store.release(attributes);
      else {
        encoder.announce(destination, path, extra, attributes, source, this.#allBut(source));
        adjOut.set(path, attributes, extra, source);
      }
    }
  }

  /** What a path is told with: a set with a reference for the caller, or 0 for a path that these peers do not get. */
  #exported(path: number, destination: number): number {
    const { store, table, extras, peers } = this.#context;
    const { paths } = table;
    let id = paths.accepted[path] as number;
    const flags = store.flags[id] as number;
    const external = this.kind === "external";
    // RFC 1997: NO_ADVERTISE, NO_EXPORT.
    if ((flags & RANK_FLAG.noAdvertise) !== 0 || (external && (flags & RANK_FLAG.noExport) !== 0)) return 0;
    // RFC 9494 section 4.3: such routes "SHOULD NOT be advertised to any neighbor from which the Long-Lived Graceful Restart Capability
    // has not been received".
    if ((flags & RANK_FLAG.longLivedStale) !== 0 && !this.export.longLived) return 0;
    const number = paths.peer[path] as number;
    // RFC 4456 section 6: a route from a non-client goes to clients and to external peers only.
    if (this.kind === "internal" && number !== LOCAL) {
      const source = (peers[number] as RibPeer).options;
      if (!source.external && !isClient(source, this.export.form.family)) return 0;
    }
    const { membership, withoutMed, policies } = this.export;
    if (membership !== undefined && !membership.wants(id)) return 0;
    store.hold(id);
    if (withoutMed !== undefined && number !== LOCAL && (flags & RANK_FLAG.hasMed) !== 0) {
      const without = withoutMed.apply(id);
      store.release(id);
      id = without;
    }
    for (let i = 0; i < policies.length && id !== 0; i++) {
      const policy = policies[i] as PolicyCache;
      const next = policy.dependsOnDestination
        ? policy.applyTo(
            id,
            table.keys.copyOf(destination),
            extras.copyOf(paths.extra[path] as number),
            number,
          )
        : policy.apply(id);
      store.release(id);
      id = next;
    }
    return id;
  }

  #takeForced(destination: number): boolean {
    if (this.force === undefined || !this.force.has(destination)) return false;
    this.force.delete(destination);
    return true;
  }

  #isMember(peer: number): boolean {
    const member = this.#context.peers[peer];
    return member !== undefined && this.members.has(member);
  }

  #allBut(source: number): number {
    return this.#isMember(source) ? allBut(source) : ALL;
  }
}
