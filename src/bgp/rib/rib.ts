/**
 * Rib: routes of all peers in, best paths and bytes for all peers out. What comes only marks what has to be looked at; `work` does
 * it in slices, and outboxes are read when sockets have room. Pure: no clock, no socket, times are arguments.
 */
import {
  type BgpError,
  type BgpFamily,
  type EncodedNlri,
  EVPN,
  FAMILIES,
  type Reaction,
  ROUTE_TARGET,
} from "../wire/mod.ts";
import { addLongLivedStale, withoutMed } from "./attribute-change.ts";
import { AttributeMap } from "./attribute-map.ts";
import type { OwnIdentity } from "./attribute-rank.ts";
import { AttributeStore } from "./attribute-store.ts";
import { Decision, type DecisionOptions } from "./decision.ts";
import { ExportNames } from "./export-names.ts";
import { ChunkPool } from "./group-log.ts";
import { type GroupLimits, Groups } from "./groups.ts";
import { Interned } from "./interned.ts";
import { Membership } from "./membership.ts";
import { NextHops, type NextHopState } from "./next-hops.ts";
import { Outbox } from "./outbox.ts";
import {
  LOCAL,
  MOST_PEERS,
  newPeerTable,
  type PeerOptions,
  type PeerTable,
  type RibPeer,
  type RouteGuard,
  type SessionOptions,
} from "./peer.ts";
import { type Policy, PolicyCache } from "./policy.ts";
import { type ReceiveEvents, Receiver } from "./receive.ts";
import { SCAN, Scan } from "./scan.ts";
import { type BestListener, RibTable, type TableContext } from "./table.ts";
import { UpdateEncoder } from "./update-encoder.ts";

/** RibEvents are what happens that the owner may want to know. */
export interface RibEvents extends ReceiveEvents {
  /** A peer whose outbox was found empty has something to read. */
  onOutput?(peer: RibPeer): void;
  /** A next hop has its first route, or has lost its last one: what the owner has to find the way to. Called within other calls: only note it. */
  onNextHop?(nextHop: Uint8Array, isUsed: boolean): void;
}

/** RibOptions say who this router is and how it chooses. */
export interface RibOptions {
  readonly own: OwnIdentity;
  readonly families?: readonly BgpFamily[];
  readonly decision?: DecisionOptions;
  readonly limits?: GroupLimits;
  /** What is taken for next hops of which `setNextHop` said nothing; default valid, metric 0. */
  readonly unknownNextHop?: NextHopState;
  readonly events?: RibEvents;
}

/** Work is one slice's bounds. */
export interface Work {
  readonly nowMs: number;
  /** Destinations to look at in each step, by default 2048: a few milliseconds. */
  readonly most?: number;
}

interface Family {
  readonly table: RibTable;
  readonly groups: Groups;
  readonly scan: Scan;
}

/** Rib owns all tables. */
export class Rib {
  readonly own: OwnIdentity;
  readonly store: AttributeStore;
  readonly extras = new Interned();
  readonly nextHops: NextHops;
  readonly decision: Decision;
  /** Peers by number; 0 is this router. */
  readonly peers: (RibPeer | undefined)[] = [];
  readonly pool = new ChunkPool();
  readonly receiver: Receiver;
  readonly #families = new Map<BgpFamily, Family>();
  readonly #tables = new Map<BgpFamily, RibTable>();
  readonly #exports: ExportNames;
  readonly #events: RibEvents;
  readonly #outboxes = new Map<RibPeer, Outbox>();
  readonly #imports = new WeakMap<Policy, Map<BgpFamily, PolicyCache>>();
  /** Numbers of peers that are gone, oldest first; a number is used again when nothing refers to it. */
  readonly #freeNumbers: number[] = [];
  readonly #leaving = new Set<RibPeer>();
  /** Peers whose wanted route targets may have changed (RFC 4684). */
  readonly #wantsChanged = new Set<RibPeer>();
  readonly #wantsKnown = new Set<RibPeer>();
  #isGuarded = false;
  /** While this is true nobody is told the End-of-RIB that follows an initial dump. Afterwards there is work. */
  holdsEnds = false;

  constructor(options: RibOptions) {
    this.own = options.own;
    this.#events = options.events ?? {};
    this.nextHops = new NextHops(options.unknownNextHop);
    if (this.#events.onNextHop !== undefined)
      this.nextHops.onUse = (id, isUsed) => this.#events.onNextHop?.(this.nextHops.bytesOf(id), isUsed);
    this.store = new AttributeStore(options.own, this.nextHops);
    const { store, extras, nextHops, peers } = this;
    this.decision = new Decision(options.decision ?? {}, { store, nextHops, peers });
    const context: TableContext = { store, extras, decision: this.decision, peers };
    const encoder = new UpdateEncoder(context);
    const events: ReceiveEvents = {
      onEndOfRib: (peer, family) => this.#endOfRib(peer, family),
      onLimit: (peer, family, routes, kind) => this.#events.onLimit?.(peer, family, routes, kind),
    };
    this.receiver = new Receiver(context, this.#tables, events);
    const longLived = new AttributeMap(store, addLongLivedStale);
    this.#exports = new ExportNames(options.own, new AttributeMap(store, withoutMed), (policy, family) =>
      this.#cacheOf(policy, family),
    );
    const wake = (peer: RibPeer) => this.#events.onOutput?.(peer);
    for (const family of options.families ?? FAMILIES) {
      const table = new RibTable(family, this.#tables.size, context);
      const shared = { ...context, table, encoder, pool: this.pool, holdsEnds: () => this.holdsEnds };
      const groups = new Groups(shared, options.limits ?? {}, wake);
      const accept = (peer: RibPeer, path: number) => this.#acceptAgain(table, peer, path);
      const swept = (state: PeerTable) => this.#swept(table, state);
      const scan = new Scan({ ...context, table, longLived, accept, swept });
      this.#tables.set(family, table);
      this.#families.set(family, { table, groups, scan });
    }
    this.#addLocal();
  }

  /** The tables, by family. */
  get tables(): ReadonlyMap<BgpFamily, RibTable> {
    return this.#tables;
  }

  /** What was wrong with the last UPDATE that reset its session. */
  get error(): BgpError | undefined {
    return this.receiver.error;
  }

  /** One text for each fault of the last UPDATE, for the log. */
  get faults(): readonly string[] {
    return this.receiver.view.faults;
  }

  /** addPeer makes a peer known; nothing is sent to it before `up`. */
  addPeer(options: PeerOptions): RibPeer {
    const number = this.#freeNumbers.length > 0 ? this.#freeNumber() : this.peers.length;
    if (number >= MOST_PEERS)
      throw new RangeError(`Cannot add peer ${number}: a RIB has at most ${MOST_PEERS}`);
    const peer = newPeer(number, options, this.#tables.size);
    this.peers[number] = peer;
    return peer;
  }

  /** removePeer forgets a peer, its routes and its session. */
  removePeer(peer: RibPeer): void {
    this.down(peer, { keep: new Set() });
    peer.removed = true;
    this.#leaving.add(peer);
  }

  /** up begins a session: the peer is sent everything of the families it speaks, and then End-of-RIB. */
  up(peer: RibPeer, session: SessionOptions): void {
    if (peer.session !== undefined) this.down(peer, { keep: new Set(session.families.keys()) });
    peer.session = session;
    peer.routerId = session.routerId;
    peer.drained = true;
    for (const [family, options] of session.families) {
      const own = this.#families.get(family);
      if (own === undefined) continue;
      const state = stateOf(peer, own.table);
      state.active = true;
      state.options = options;
      state.warned = false;
      state.importCache = this.#cacheOfImport(peer, family);
      state.guard = guardOf(peer, family);
    }
    // Families that are there no more had routes of the session before.
    for (const { table, scan } of this.#families.values())
      if (!stateOf(peer, table).active && stateOf(peer, table).routes > 0) this.#expire(peer, table, scan);
    for (const family of session.families.keys()) {
      const own = this.#families.get(family);
      own?.groups.join(peer, this.#exports.of(peer, family, undefined));
    }
  }

  /** down ends a session. Routes of the families in `keep` become stale and stay (RFC 4724), those of `again` also where they were stale before; all others go. */
  down(
    peer: RibPeer,
    { keep, again }: { readonly keep: ReadonlySet<BgpFamily>; readonly again?: ReadonlySet<BgpFamily> },
  ): void {
    for (const [family, { table, groups, scan }] of this.#families) {
      const state = stateOf(peer, table);
      groups.leave(peer);
      state.active = false;
      if (keep.has(family)) this.markStale(peer, family, { again: again?.has(family) === true });
      else this.#expire(peer, table, scan);
    }
    this.#wantsKnown.delete(peer);
    this.#wantsChanged.delete(peer);
    peer.session = undefined;
  }

  /** receive takes the body of an UPDATE. RESET: `error` is what the session ends with. */
  receive(peer: RibPeer, bytes: Uint8Array, at: number, end: number, nowMs: number): Reaction {
    const reaction = this.receiver.receive(peer, bytes, at, end, nowMs);
    const { view } = this.receiver;
    if (view.reachFamily === ROUTE_TARGET || view.unreachFamily === ROUTE_TARGET)
      this.#wantsChanged.add(peer);
    return reaction;
  }

  /** announce takes a route of this router, or of a feature; `attributes` are canonical. */
  announce(route: EncodedNlri, attributes: Uint8Array, { nowMs }: { readonly nowMs: number }): void {
    if (!this.receiver.put(this.peers[LOCAL] as RibPeer, route, attributes, nowMs))
      throw new RangeError(
        "Cannot announce a route: the routing table is full; give the router fewer routes",
      );
  }

  /** withdraw takes a route of this router back. */
  withdraw(route: { readonly family: BgpFamily; readonly key: Uint8Array }): void {
    const table = this.#tables.get(route.family);
    const local = this.peers[LOCAL] as RibPeer;
    table?.withdraw(route.key, route.key.length, 0, stateOf(local, table), LOCAL);
  }

  /** endWants takes what a peer wants (RFC 4684) as said in full: for one that promised no End-of-RIB. */
  endWants(peer: RibPeer): void {
    if (peer.session === undefined) return;
    this.#wantsKnown.add(peer);
    this.#wantsChanged.add(peer);
  }

  /** markStale makes all present routes of a peer stale: they stay as they are until they are said again, or swept. */
  markStale(peer: RibPeer, family: BgpFamily, { again = false }: { readonly again?: boolean } = {}): void {
    const own = this.#families.get(family);
    if (own === undefined) return;
    const state = stateOf(peer, own.table);
    if (state.routes === 0) return;
    // RFC 4724 section 4.2: routes that were stale already are deleted when the session ends again; RFC 9494 lets those stay that are kept for long.
    if (state.scan !== 0) own.scan.finish();
    if (state.hasStale && !again) {
      own.scan.begin(state, SCAN.sweepShort);
      own.scan.finish();
    }
    state.epoch = (state.epoch + 1) & 0xff;
    state.hasStale = true;
    own.table.keeping.add(state);
  }

  /** sweepStale removes what is still stale. */
  sweepStale(peer: RibPeer, family: BgpFamily): void {
    const own = this.#families.get(family);
    if (own !== undefined) own.scan.begin(stateOf(peer, own.table), SCAN.sweep);
  }

  /** markLongLived keeps stale routes for long (RFC 9494): they get LLGR_STALE and lose against all others; those with NO_LLGR go. */
  markLongLived(peer: RibPeer, family: BgpFamily): void {
    const own = this.#families.get(family);
    if (own !== undefined) own.scan.begin(stateOf(peer, own.table), SCAN.longLived);
  }

  /** refresh sends everything again to a peer that asked for it. */
  refresh(peer: RibPeer, family: BgpFamily): void {
    this.#families.get(family)?.groups.refresh(peer);
  }

  /** setPolicies changes a peer's policies. What was received is judged again, what was sent is corrected; nobody is asked for anything. */
  setPolicies(peer: RibPeer, policies: Pick<PeerOptions, "importPolicy" | "exportPolicy">): void {
    const { importPolicy: before } = peer.options;
    const { importPolicy: _in, exportPolicy: _out, ...rest } = peer.options;
    peer.options = { ...rest, ...policies };
    for (const [family, { table, groups, scan }] of this.#families) {
      const state = stateOf(peer, table);
      state.importCache = this.#cacheOfImport(peer, family);
      if (before !== policies.importPolicy) scan.begin(state, SCAN.policy);
      if (state.active) groups.rejoin(peer, this.#exports.of(peer, family, this.#membership(peer, family)));
    }
  }

  /** setGuard changes who judges a peer's routes; those that are there are judged again. */
  setGuard(peer: RibPeer, guard: RouteGuard | undefined): void {
    peer.options = { ...peer.options, guard };
    for (const [family, { table, scan }] of this.#families) {
      const state = stateOf(peer, table);
      const before = state.guard;
      state.guard = guardOf(peer, family);
      if (before !== state.guard) scan.begin(state, SCAN.policy);
    }
    this.#isGuarded ||= guard !== undefined;
  }

  /** setNextHop says whether a next hop can be reached, and how far it is, undefined for no longer known; where it matters, paths are chosen again. */
  setNextHop(nextHop: Uint8Array, state: NextHopState | undefined): void {
    const id = this.nextHops.set(nextHop, state);
    if (id !== 0) for (const { scan } of this.#families.values()) scan.beginNextHop(id);
  }

  /** onBest has a listener told of each destination whose best paths changed, from within `work`, until it is disposed of. */
  onBest(family: BgpFamily, listener: BestListener): Disposable {
    const listeners = this.#tables.get(family)?.listeners;
    listeners?.push(listener);
    return { [Symbol.dispose]: () => void listeners?.splice(listeners.indexOf(listener), 1) };
  }

  /** outbox is what is to be written to a peer. */
  outbox(peer: RibPeer): Outbox {
    let outbox = this.#outboxes.get(peer);
    if (outbox === undefined) this.#outboxes.set(peer, (outbox = new Outbox(peer)));
    return outbox;
  }

  /** groupsOf returns the update groups of a family, for commands and tests. */
  groupsOf(family: BgpFamily): Groups | undefined {
    return this.#families.get(family)?.groups;
  }

  /** Whether anything waits for `work`; some of it may wait for peers to read. */
  get isBusy(): boolean {
    if (this.#wantsChanged.size > 0 || this.#leaving.size > 0) return true;
    for (const { table, groups, scan } of this.#families.values())
      if (table.changed.size > 0 || scan.isBusy || groups.isBusy) return true;
    return false;
  }

  /** work does a slice of what there is to do; true when there is more that can be done at once. */
  work({ nowMs, most = 2048 }: Work): boolean {
    let more = false;
    for (const peer of this.#wantsChanged) this.#applyWants(peer);
    for (const { table, groups, scan } of this.#families.values()) {
      // A guard is asked for each route, which costs microseconds; all else of a scan is looked up.
      if (scan.work(this.#isGuarded ? most : most * 8)) more = true;
      table.decide(most);
      if (table.changed.size > 0) more = true;
      if (groups.work(nowMs, most)) more = true;
    }
    if (this.#leaving.size > 0) this.#forget();
    return more || this.#wantsChanged.size > 0;
  }

  #addLocal(): void {
    // What a feature has from elsewhere has been through our AS already, as other edges' routes have that their fabric brings.
    const options = { asn: this.own.asn, address: new Uint8Array(4), external: false, allowOwnAs: 254 };
    const local = newPeer(LOCAL, options, this.#tables.size);
    local.routerId = this.own.routerId;
    this.peers[LOCAL] = local;
  }

  #expire(peer: RibPeer, table: RibTable, scan: Scan): void {
    const state = stateOf(peer, table);
    if (state.routes === 0) return;
    state.epoch = (state.epoch + 1) & 0xff;
    state.hasStale = true;
    scan.begin(state, SCAN.sweep);
  }

  #endOfRib(peer: RibPeer, family: BgpFamily): void {
    if (family === ROUTE_TARGET) {
      this.#wantsKnown.add(peer);
      this.#wantsChanged.add(peer);
    }
    this.#events.onEndOfRib?.(peer, family);
  }

  /** What a peer wants, once it has said all of it; before that, and for those who never say, everything. */
  #membership(peer: RibPeer, family: BgpFamily): Membership | undefined {
    const table = this.#tables.get(ROUTE_TARGET);
    // Unicast routes have no route targets, and are not held back.
    if (table === undefined || family !== EVPN || !this.#wantsKnown.has(peer)) return undefined;
    const keys: Uint8Array[] = [];
    const { paths } = table;
    for (let path = 1; path < paths.end; path++)
      if (paths.peer[path] === peer.number && paths.accepted[path] !== 0)
        keys.push(table.keys.copyOf(paths.destination[path] as number));
    return new Membership(keys, this.store);
  }

  #applyWants(peer: RibPeer): void {
    const table = this.#tables.get(ROUTE_TARGET);
    // Withdrawn paths stay until they are decided: then is the time to look.
    if (table !== undefined && table.changed.size > 0) return;
    this.#wantsChanged.delete(peer);
    for (const [family, own] of this.#families)
      if (stateOf(peer, own.table).active)
        own.groups.rejoin(
          peer,
          this.#exports.of(peer, family, this.#membership(peer, family)),
          "endOfAnswer",
        );
  }

  #cacheOfImport(peer: RibPeer, family: BgpFamily): PolicyCache | undefined {
    const policy = peer.options.importPolicy;
    return policy === undefined ? undefined : this.#cacheOf(policy, family);
  }

  #cacheOf(policy: Policy, family: BgpFamily): PolicyCache {
    let caches = this.#imports.get(policy);
    if (caches === undefined) this.#imports.set(policy, (caches = new Map()));
    let cache = caches.get(family);
    if (cache === undefined) caches.set(family, (cache = new PolicyCache(policy, family, this.store)));
    return cache;
  }

  #acceptAgain(table: RibTable, peer: RibPeer, path: number): number {
    const { paths, keys } = table;
    const key = keys.copyOf(paths.destination[path] as number);
    const extra = this.extras.copyOf(paths.extra[path] as number);
    const state = stateOf(peer, table);
    const accepted = this.receiver.acceptedOf(peer, state, paths.received[path] as number, key, extra);
    // Of one that is away nobody would end the session; what it says again is counted when all has been said.
    if (state.active && accepted !== 0 && paths.accepted[path] === 0)
      this.receiver.limits(peer, table.family, state, state.accepted + 1);
    return accepted;
  }

  /** What was said again, and what policy has let in while the session was down, raised no count since. */
  #swept({ index, family }: RibTable, state: PeerTable): void {
    const peer = this.peers.find((one) => one?.tables[index] === state);
    if (peer !== undefined && state.active) this.receiver.limits(peer, family, state);
  }

  /** Gives the numbers of peers free that have no routes any more, and of whom no group speaks. */
  #forget(): void {
    for (const { table, scan, groups } of this.#families.values())
      if (table.changed.size > 0 || scan.isBusy || groups.isBusy) return;
    for (const peer of this.#leaving) {
      this.peers[peer.number] = undefined;
      this.#outboxes.delete(peer);
      this.#freeNumbers.push(peer.number);
    }
    this.#leaving.clear();
  }

  #freeNumber(): number {
    return this.#freeNumbers.shift() as number;
  }
}

function stateOf(peer: RibPeer, table: RibTable): PeerTable {
  return peer.tables[table.index] as PeerTable;
}

function guardOf({ options: { guard } }: RibPeer, family: BgpFamily): RouteGuard | undefined {
  return guard?.family === family ? guard : undefined;
}

function newPeer(number: number, options: PeerOptions, tables: number): RibPeer {
  return {
    number,
    options,
    session: undefined,
    routerId: 0,
    tables: Array.from({ length: tables }, newPeerTable),
    drained: true,
    reading: 0,
    removed: false,
  };
}
