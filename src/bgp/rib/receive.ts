/**
 * Receive: an UPDATE's bytes into the tables (adj-in). Attributes are interned once for a message, loops and import policy are looked at once
 * for a set, and each NLRI is a key, a path and a mark. Nothing is allocated for a route.
 */
import {
  ACCEPT,
  type BgpError,
  bgpError,
  type BgpFamily,
  CANONICAL_BYTES_MAX,
  CEASE,
  type EncodedNlri,
  ERROR,
  IPV4_UNICAST,
  NlriCursor,
  type Reaction,
  RESET,
  UpdateView,
  WITHDRAW,
  writeCanonical,
} from "../wire/mod.ts";
import type { PeerTable, RibPeer } from "./peer.ts";
import type { Announcement, RibTable, TableContext } from "./table.ts";

/** What is rejected is stored too: so many times a peer's limit, or STORED_LEAST where that is more. */
const STORED_TIMES = 10;
const STORED_LEAST = 10_000;

/** LimitKind says of which routes there are too many: accepted ones, or all that are stored; or what is warned of is reached. */
export type LimitKind = "limit" | "stored" | "warning";

/** ReceiveEvents are what an UPDATE can cause beside routes. */
export interface ReceiveEvents {
  /** The peer has sent all its routes of a family (RFC 4724). */
  onEndOfRib?(peer: RibPeer, family: BgpFamily): void;
  /** The peer has more routes of a family than it may, or has reached the number that is warned of. */
  onLimit?(peer: RibPeer, family: BgpFamily, routes: number, kind: LimitKind): void;
}

/** Receiver takes UPDATEs of all peers, one at a time. */
export class Receiver {
  /** What is wrong with the last UPDATE, where it resets the session. */
  error: BgpError | undefined;
  readonly view = new UpdateView();
  readonly #context: TableContext;
  readonly #tables: ReadonlyMap<BgpFamily, RibTable>;
  readonly #events: ReceiveEvents;
  readonly #cursor = new NlriCursor(IPV4_UNICAST);
  readonly #canonical = new Uint8Array(CANONICAL_BYTES_MAX);
  readonly #announcement: Announcement = {
    peer: 0,
    pathId: 0,
    received: 0,
    accepted: 0,
    extra: 0,
    seconds: 0,
  };

  constructor(context: TableContext, tables: ReadonlyMap<BgpFamily, RibTable>, events: ReceiveEvents) {
    this.#context = context;
    this.#tables = tables;
    this.#events = events;
  }

  /** receive takes the body of an UPDATE, `bytes[at..end)`, from a peer whose session is up. */
  receive(peer: RibPeer, bytes: Uint8Array, at: number, end: number, nowMs: number): Reaction {
    const { view } = this;
    const session = peer.session?.update;
    if (session === undefined) return ACCEPT;
    const reaction = view.parse(bytes, at, end, session);
    this.error = view.error;
    if (reaction === RESET) return RESET;
    if (view.endOfRib !== 0) {
      this.#events.onEndOfRib?.(peer, view.endOfRib);
      return reaction;
    }
    if (view.withdrawnAt < view.withdrawnEnd)
      this.#withdraw(peer, IPV4_UNICAST, view.withdrawnAt, view.withdrawnEnd);
    if (view.unreachFamily !== 0) this.#withdraw(peer, view.unreachFamily, view.unreachAt, view.unreachEnd);
    this.#announcement.seconds = Math.floor(nowMs / 1000);
    const classic = view.nlriAt < view.nlriEnd;
    if (reaction === WITHDRAW) {
      // RFC 7606 section 2: "treat-as-withdraw": as if all these routes had been withdrawn.
      if (classic) this.#withdraw(peer, IPV4_UNICAST, view.nlriAt, view.nlriEnd);
      if (view.reachFamily !== 0) this.#withdraw(peer, view.reachFamily, view.reachAt, view.reachEnd);
      return reaction;
    }
    if (classic && !this.#take(peer, IPV4_UNICAST, true, view.nlriAt, view.nlriEnd)) return this.#full();
    if (view.reachFamily !== 0 && !this.#take(peer, view.reachFamily, false, view.reachAt, view.reachEnd))
      return this.#full();
    return reaction;
  }

  /** put takes one route as key and extra, with canonical attributes: what this router announces. False when a table is full. */
  put(peer: RibPeer, route: EncodedNlri, canonical: Uint8Array, nowMs: number): boolean {
    const { store, extras } = this.#context;
    const table = this.#tables.get(route.family);
    if (table === undefined) return true;
    const state = peer.tables[table.index] as PeerTable;
    const received = store.intern(canonical, 0, canonical.length);
    if (received === 0) return false;
    const accepted = this.acceptedOf(peer, state, received, route.key, route.extra);
    const extra = extras.intern(route.extra, 0, route.extra.length);
    const announcement = {
      peer: peer.number,
      pathId: 0,
      received,
      accepted,
      extra,
      seconds: Math.floor(nowMs / 1000),
    };
    const fits = extra >= 0 && table.put(route.key, route.key.length, announcement, state);
    if (!fits) extras.sweep(extra);
    store.release(accepted);
    store.release(received);
    return fits;
  }

  /** acceptedOf applies loop detection, the guard and the import policy: the set a path is used with, with a reference; 0 where it may not be used. */
  acceptedOf(peer: RibPeer, state: PeerTable, received: number, key: Uint8Array, extra: Uint8Array): number {
    const { store } = this.#context;
    // RFC 4271 section 9.1.2: a path with the own AS; RFC 4456 section 8: an own originator or cluster.
    if ((store.loops[received] as number) > (peer.options.allowOwnAs ?? 0)) return 0;
    if (state.guard?.admits(received, key, extra) === false) return 0;
    const cache = state.importCache;
    if (cache === undefined) {
      store.hold(received);
      return received;
    }
    return cache.dependsOnDestination
      ? cache.applyTo(received, key, extra, peer.number)
      : cache.apply(received);
  }

  #take(peer: RibPeer, family: BgpFamily, classic: boolean, at: number, end: number): boolean {
    const { view } = this;
    const length = writeCanonical(view, classic, this.#canonical, 0);
    const received = this.#context.store.intern(this.#canonical, 0, length);
    if (received === 0) return false;
    const addPath = (view.session as { addPathReceive: ReadonlySet<BgpFamily> }).addPathReceive.has(family);
    return this.#putAll(peer, family, received, view.bytes, at, end, addPath);
  }

  /** Takes all NLRI of a field with the same attributes, and gives the reference to them up. */
  #putAll(
    peer: RibPeer,
    family: BgpFamily,
    received: number,
    bytes: Uint8Array,
    from: number,
    end: number,
    addPath: boolean,
  ): boolean {
    const { store, extras } = this.#context;
    const table = this.#tables.get(family);
    const state = table === undefined ? undefined : peer.tables[table.index];
    if (table === undefined || state === undefined) {
      store.release(received);
      return true;
    }
    const cursor = this.#cursor;
    const announcement = this.#announcement;
    const before = { accepted: state.accepted, routes: state.routes };
    const each = state.importCache?.dependsOnDestination === true || state.guard !== undefined;
    let accepted = each ? 0 : this.acceptedOf(peer, state, received, cursor.key, cursor.extra);
    let fits = true;
    cursor.family = family;
    // What an EVPN type 5 may look like depends on it (RFC 9136).
    cursor.routerMac = this.view.routerMac;
    announcement.peer = peer.number;
    announcement.received = received;
    for (let at = from; at < end && fits;) {
      at = cursor.next(bytes, at, end, addPath);
      if (at < 0) break;
      if (cursor.skip) continue;
      if (cursor.withdraw) {
        table.withdraw(cursor.key, cursor.keyBytes, cursor.pathId, state, peer.number);
        continue;
      }
      if (each) accepted = this.#acceptedEach(peer, state, received);
      announcement.accepted = accepted;
      announcement.pathId = cursor.pathId;
      announcement.extra = extras.intern(cursor.extra, 0, cursor.extraBytes);
      fits = announcement.extra >= 0 && table.put(cursor.key, cursor.keyBytes, announcement, state);
      if (!fits) extras.sweep(announcement.extra);
      if (each) store.release(accepted);
    }
    if (!each) store.release(accepted);
    store.release(received);
    if (state.accepted > before.accepted || state.routes > before.routes) this.limits(peer, family, state);
    return fits;
  }

  #acceptedEach(peer: RibPeer, state: PeerTable, received: number): number {
    const { key, keyBytes, extra, extraBytes } = this.#cursor;
    return this.acceptedOf(peer, state, received, key.slice(0, keyBytes), extra.slice(0, extraBytes));
  }

  #withdraw(peer: RibPeer, family: BgpFamily, at: number, end: number): void {
    const addPath = (this.view.session as { addPathReceive: ReadonlySet<BgpFamily> }).addPathReceive.has(
      family,
    );
    this.#withdrawAll(peer, family, this.view.bytes, at, end, addPath);
  }

  #withdrawAll(
    peer: RibPeer,
    family: BgpFamily,
    bytes: Uint8Array,
    from: number,
    end: number,
    addPath: boolean,
  ): void {
    const table = this.#tables.get(family);
    const state = table === undefined ? undefined : peer.tables[table.index];
    if (table === undefined || state === undefined) return;
    const cursor = this.#cursor;
    cursor.family = family;
    for (let at = from; at < end;) {
      at = cursor.next(bytes, at, end, addPath);
      if (at < 0) return;
      if (!cursor.skip) table.withdraw(cursor.key, cursor.keyBytes, cursor.pathId, state, peer.number);
    }
  }

  /**
   * limits tells of a peer that has more routes than it may. What loop detection, a guard or policy rejects does not count, as a peer may tell back
   * what it was told; but it is stored, and so that has a bound too.
   */
  limits(peer: RibPeer, family: BgpFamily, state: PeerTable, routes = state.accepted): void {
    const { mostRoutes, warnRoutes } = state.options;
    if (warnRoutes !== undefined && routes >= warnRoutes && !state.warned) {
      state.warned = true;
      this.#events.onLimit?.(peer, family, routes, "warning");
    }
    if (mostRoutes === undefined) return;
    const mostStored = Math.max(STORED_TIMES * mostRoutes, STORED_LEAST);
    if (routes > mostRoutes) this.#events.onLimit?.(peer, family, routes, "limit");
    else if (state.routes > mostStored) this.#events.onLimit?.(peer, family, state.routes, "stored");
  }

  /** RFC 4486: what does not fit into the tables ends the session that brings it, and no other. */
  #full(): Reaction {
    this.error = bgpError(ERROR.cease, CEASE.outOfResources, { text: "the routing table is full" });
    return RESET;
  }
}
