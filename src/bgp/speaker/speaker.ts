/**
 * Speaker: one BgpRouter at work. Sessions and RIB are brought together here, with what happens between them: who is a client of whom, which
 * routes stay when a session ends, and when there is time to work.
 *
 * ```
 *  sockets ──▶ BgpIo ── update ──▶ Rib ── work, in slices ──▶ best paths ──▶ listeners
 *     ▲                                       └──▶ outboxes ──┐
 *     └──────────────────── wake ─────────────────────────────┘
 * ```
 */
import { formatPrefix, ipFromBytes, parseIp, parsePrefix, prefixContains } from "../../net/mod.ts";
import {
  type BgpRouter,
  type Neighbor as NeighborWish,
  type NeighborOptions,
  neighborName,
  neighborOptions,
} from "../../resources/mod.ts";
import { BUILD, hostName, monotonicMs } from "../../sys/mod.ts";
import { BgpIo, type BgpSession, type SessionDown } from "../io/mod.ts";
import { type LimitKind, Rib, type RibPeer, type RouteGuard } from "../rib/mod.ts";
import type { RibTable } from "../rib/table.ts";
import type { Negotiated } from "../session/mod.ts";
import {
  type BgpError,
  bgpError,
  type BgpFamily,
  CEASE,
  encodeCanonical,
  encodeNlri,
  encodeRefresh,
  ERROR,
  familyName,
  type Nlri,
  type PathAttributes,
  REFRESH,
  type Refresh,
  RESET,
} from "../wire/mod.ts";
import { administrative } from "./cease-text.ts";
import { SpeakerEvpn } from "./evpn.ts";
import type { EvpnListener } from "./evpn-feed.ts";
import { type EvpnGuard, routeGuard } from "./evpn-guard.ts";
import { FaultLog } from "./fault-log.ts";
import { GracefulRestart } from "./graceful-restart.ts";
import {
  otherPassword,
  passwordsDiffer,
  readPasswords,
  compilePolicies,
  dynamicConfig,
  listenOf,
  type NeighborContext,
  neighborConfig,
  ribPeer,
} from "./neighbor-config.ts";
import { KernelRoutes } from "./kernel-routes.ts";
import { dynamicDiffers, type RouterChange, sessionDiffers } from "./router-change.ts";
import type { SpeakerOptions } from "./speaker-options.ts";
import { restartOver, sessionOptions } from "./session-options.ts";
import type { SpeakerNeighbor } from "./speaker-neighbor.ts";
import { type Convergence, WorkLoop } from "./work-loop.ts";

/** A session that ended for too many prefixes comes back after that time. */
const LIMIT_PAUSE_MS = 300_000;

/** Speaker owns the sessions and the routes of one router. */
export class Speaker implements Disposable {
  readonly rib: Rib;
  readonly io: BgpIo;
  readonly evpn: SpeakerEvpn;
  readonly #options: SpeakerOptions;
  readonly #neighbors = new Map<string, SpeakerNeighbor>();
  readonly #byPeer = new Map<RibPeer, SpeakerNeighbor>();
  readonly #faults: FaultLog;
  #router: BgpRouter;
  #context: NeighborContext;
  readonly #restart: GracefulRestart;
  #kernel: KernelRoutes | undefined;
  #guard: EvpnGuard | undefined;
  readonly #work: WorkLoop;

  /** Throws if a port is taken, or a password's file cannot be used. */
  constructor(router: BgpRouter, options: SpeakerOptions) {
    this.#router = router;
    this.#options = options;
    this.#context = this.#newContext(router, undefined);
    this.#faults = new FaultLog(options.log);
    const routerId = Number(router.routerId.value);
    const clusterId = Number((router.clusterId ?? router.routerId).value);
    this.rib = new Rib({
      own: { asn: router.asn, routerId, clusterId },
      decision: { alwaysCompareMed: router.alwaysCompareMed, multipath: router.maximumPaths },
      events: {
        onOutput: (peer) => this.#byPeer.get(peer)?.session.wake(),
        onEndOfRib: (peer, family) => this.#endOfRib(peer, family),
        onLimit: (peer, family, routes, kind) => this.#limit(peer, { family, routes, kind }),
        onNextHop: (bytes, isUsed) => this.#kernel?.nextHop(bytes, isUsed),
      },
    });
    this.#work = new WorkLoop(this.rib, {
      isDeferring: () => this.#restart.isDeferring,
      keepsFormer: () => this.#restart.keepsFormer,
      before: () => this.#kernel?.beforeWork(),
      after: () => {
        this.#kernel?.afterWork();
        if (this.evpn.flush()) this.#work.schedule();
      },
    });
    this.io = new BgpIo({
      netns: options.netns,
      ...listenOf(router),
      hooks: {
        established: (session, negotiated) => this.#established(session, negotiated),
        down: (session, down) => this.#down(session, down),
        update: (session, bytes, at, end) => this.#update(session, bytes, at, end),
        refresh: (session, refresh) => this.#refresh(session, refresh),
        changed: (session) => this.#changed(session),
      },
      removed: (session) => this.#forget(session.name),
      ...(options.tap === undefined ? {} : { tap: options.tap }),
    });
    this.#restart = new GracefulRestart({
      rib: this.rib,
      neighbors: () => this.#neighbors.values(),
      sweepMs: () => this.#router.sweepMs ?? 0,
      onWork: () => this.#work.schedule(),
    });
    if (options.restarted !== undefined && options.restarted.over !== true) this.#restart.begin(router);
    for (const prefix of router.networks) this.announce({ kind: "prefix", prefix }, LOCAL_ROUTE);
    this.evpn = new SpeakerEvpn({
      rib: this.rib,
      router,
      announce: (nlri, attributes) => this.announce(nlri, attributes),
      withdraw: (nlri) => this.withdraw(nlri),
      log: options.log,
      onWork: () => this.#work.schedule(),
    });
    this.evpn.update(router);
    for (const neighbor of router.neighbors) this.#add(neighbor);
    this.#addDynamic();
    const { netns, log } = options;
    this.#kernel = new KernelRoutes({ speaker: this, netns, log, onWork: () => this.#work.schedule() });
    try {
      this.#kernel.update(router);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    this.#work.schedule();
  }

  get router(): BgpRouter {
    return this.#router;
  }

  /** onEvpn has a listener told of EVPN routes of others (types 2, 3, 5) that are imported here: all there are, and then changes, in batches. */
  onEvpn(listener: EvpnListener): Disposable {
    return this.evpn.listen(listener);
  }

  /** How long it takes until changes have been told to all. */
  get convergence(): Convergence {
    return this.#work.convergence;
  }

  /** All sessions, dynamic ones included, in the order in which they were added. */
  get neighbors(): readonly SpeakerNeighbor[] {
    for (const session of this.io.sessions) this.#neighborOf(session);
    return [...this.#neighbors.values()];
  }

  /** neighbor returns one by its name. */
  neighbor(name: string): SpeakerNeighbor | undefined {
    return this.neighbors.find((one) => one.name === name);
  }

  /** Who is waited for after a restart. */
  get restart(): Pick<GracefulRestart, "deferred" | "keepsFormer" | "hold"> {
    return this.#restart;
  }

  /** rested resolves when all has been chosen and told for the first time: after a restart, what all neighbors knew. */
  get rested(): Promise<void> {
    return this.#work.rested;
  }

  /** guardEvpn has a guard judge the EVPN routes of reflector clients, those that are there already too. */
  guardEvpn(guard: EvpnGuard | undefined): void {
    this.#guard = guard;
    for (const neighbor of this.#neighbors.values())
      if (neighbor.peer !== undefined)
        this.rib.setGuard(neighbor.peer, this.#guardOf(neighbor, neighbor.peer.options.address));
    this.#work.schedule();
  }

  #guardOf({ name, options }: SpeakerNeighbor, address: Uint8Array): RouteGuard | undefined {
    const onRefused = (why: string) => this.#faults.tell(name, [why], monotonicMs(), "bgp route is refused");
    const neighbor = { address: ipFromBytes(address), options };
    return routeGuard(this.#guard, neighbor, { digests: this.evpn.digests, onRefused });
  }

  /** announce takes a route of this router; its attributes go to neighbors as policy and the kind of session have it. */
  announce(nlri: Nlri, attributes: PathAttributes): void {
    this.rib.announce(encodeNlri(nlri), encodeCanonical(attributes), { nowMs: monotonicMs() });
    this.#work.schedule();
  }

  /** withdraw takes a route of this router back. */
  withdraw(nlri: Nlri): void {
    this.rib.withdraw(encodeNlri(nlri));
    this.#work.schedule();
  }

  /** withdrawText takes a unicast route back that is known by its prefix's text. */
  withdrawText(route: string): void {
    this.withdraw({ kind: "prefix", prefix: parsePrefix(route) });
  }

  /** find returns where a unicast route is in the tables, by its prefix's text. */
  find(route: string): { readonly table: RibTable; readonly destination: number } | undefined {
    const { family, key } = encodeNlri({ kind: "prefix", prefix: parsePrefix(route) });
    const table = this.rib.tables.get(family);
    const destination = table?.keys.find(key, 0, key.length) ?? 0;
    return table === undefined || destination === 0 ? undefined : { table, destination };
  }

  /** hasOtherPasswords tells whether a password's file has another one by now; one that cannot be read changes nothing. */
  get hasOtherPasswords(): boolean {
    return passwordsDiffer(this.#router, {
      read: this.#options.readPassword,
      known: this.#context.passwords,
    });
  }

  /** update makes the speaker what the resource says now; sessions that it does not change go on. Its AS and identifier cannot change. */
  update(router: BgpRouter): void {
    const before = this.#router;
    const context = this.#newContext(router, this.#context);
    const change = { before, router, isOther: otherPassword(this.#context, context) };
    this.#router = router;
    this.#context = context;
    const kept = new Set(router.networks.map(formatPrefix));
    for (const prefix of before.networks)
      if (!kept.has(formatPrefix(prefix))) this.withdraw({ kind: "prefix", prefix });
    for (const prefix of router.networks) this.announce({ kind: "prefix", prefix }, LOCAL_ROUTE);
    this.evpn.update(router);
    this.#updateNeighbors(change);
    if (dynamicDiffers(change)) {
      before.dynamicNeighbors.forEach((_, i) => this.io.removeDynamic(`dynamic-${i}`));
      this.#addDynamic();
    }
    for (const neighbor of this.#neighbors.values()) this.#setPolicies(neighbor);
    this.#kernel?.update(router);
    this.#work.schedule();
  }

  #updateNeighbors(change: RouterChange): void {
    const { before, router } = change;
    const former = new Map(before.neighbors.map((one) => [neighborName(one), one]));
    const wanted = new Map(router.neighbors.map((one) => [neighborName(one), one]));
    for (const [name, one] of former) {
      const now = wanted.get(name);
      if (now === undefined || sessionDiffers(change, one, now)) {
        this.#tellShutdown(name, now && neighborOptions(router, now));
        this.#remove(name);
      }
    }
    for (const [name, one] of wanted) if (!this.#neighbors.has(name)) this.#add(one);
  }

  /** A neighbor that is shut down, and not taken away, is told so. */
  #tellShutdown(name: string, options: NeighborOptions | undefined): void {
    if (options?.shutdown !== true) return;
    const error = administrative(CEASE.administrativeShutdown, options.shutdownText ?? "");
    this.#neighbors.get(name)?.session.stop({ error, hard: true });
  }

  #setPolicies(neighbor: SpeakerNeighbor): void {
    // Also for the next session.
    neighbor.options = this.#optionsOf(neighbor.session) ?? neighbor.options;
    const { peer } = neighbor;
    if (peer === undefined) return;
    const { importPolicy, exportPolicy } = ribPeer(this.#context, neighbor.options, peer.options);
    this.rib.setPolicies(peer, {
      ...(importPolicy === undefined ? {} : { importPolicy }),
      ...(exportPolicy === undefined ? {} : { exportPolicy }),
    });
  }

  #newContext(router: BgpRouter, before: NeighborContext | undefined): NeighborContext {
    const { readPassword: read, restarted } = this.#options;
    const passwords = readPasswords(router, { read, known: before?.passwords });
    const policies = compilePolicies(router, before);
    return { router, policies, hostname: hostName(), software: `causeway/${BUILD}`, passwords, restarted };
  }

  #add(wish: NeighborWish): void {
    const options = neighborOptions(this.#router, wish);
    if (options.shutdown === true) return;
    this.#neighborOf(this.io.add(neighborConfig(this.#context, wish)));
  }

  #addDynamic(): void {
    this.#router.dynamicNeighbors.forEach((wish, i) =>
      this.io.addDynamic(dynamicConfig(this.#context, wish, `dynamic-${i}`)),
    );
  }

  #remove(name: string): void {
    if (!this.#neighbors.has(name)) return;
    this.io.remove(name);
    this.#forget(name);
  }

  #forget(name: string): void {
    const neighbor = this.#neighbors.get(name);
    if (neighbor === undefined) return;
    this.#neighbors.delete(name);
    this.#faults.forget(name);
    this.#restart.defer({ kind: "removed", peer: name });
    if (neighbor.peer !== undefined) {
      this.#byPeer.delete(neighbor.peer);
      this.rib.removePeer(neighbor.peer);
    }
    this.#options.onChange?.();
    this.#work.schedule();
  }

  /** The options of a session: a neighbor's own, or those of the group that a dynamic one came by. */
  #optionsOf(session: BgpSession): NeighborOptions | undefined {
    const wish = this.#router.neighbors.find((one) => neighborName(one) === session.name);
    return wish === undefined ? undefined : neighborOptions(this.#router, wish);
  }

  #neighborOf(session: BgpSession): SpeakerNeighbor {
    const known = this.#neighbors.get(session.name);
    if (known !== undefined) return known;
    const own = this.#optionsOf(session);
    const neighbor: SpeakerNeighbor = {
      name: session.name,
      session,
      options: own ?? this.#groupOf(session.name),
      dynamic: own === undefined,
      peer: undefined,
      helper: new Map(),
      sinceMs: monotonicMs(),
      limited: undefined,
    };
    this.#neighbors.set(session.name, neighbor);
    return neighbor;
  }

  #groupOf(name: string): NeighborOptions {
    const address = parseIp(name);
    const fits = this.#router.dynamicNeighbors
      .filter(({ prefix }) => prefix.family === address.family && prefixContains(prefix, address))
      .sort((a, b) => b.prefix.length - a.prefix.length);
    return this.#router.groups[fits[0]?.group ?? ""] ?? {};
  }

  #established(session: BgpSession, negotiated: Negotiated) {
    const neighbor = this.#neighborOf(session);
    const stream = session.connection?.stream;
    const address = stream?.remote.address ?? new Uint8Array(4);
    const options = {
      ...ribPeer(this.#context, neighbor.options, { asn: negotiated.remoteAs, address }),
      guard: this.#guardOf(neighbor, address),
    };
    session.configure(restartOver(session.config));
    const peer = neighbor.peer ?? this.rib.addPeer(options);
    peer.options = options;
    neighbor.peer = peer;
    neighbor.limited = undefined;
    this.#byPeer.set(peer, neighbor);
    this.#restart.help(neighbor, { kind: "up", negotiated, nowMs: monotonicMs() });
    const { netns } = this.#options;
    this.evpn.up(peer, negotiated);
    this.rib.up(peer, sessionOptions(this.#router, { ...neighbor, negotiated, stream, netns }));
    this.#restart.defer({ kind: "up", peer: session.name, negotiated });
    this.#options.log("bgp session is up", { neighbor: session.name, as: negotiated.remoteAs });
    const outbox = this.rib.outbox(peer);
    this.#work.schedule();
    return {
      peek: () => outbox.peek(),
      advance: (bytes: number) => {
        outbox.advance(bytes);
        // A log that was full may have room again.
        if (this.rib.isBusy) this.#work.schedule();
      },
    };
  }

  #down(session: BgpSession, { negotiated, graceful, ended }: SessionDown): void {
    const neighbor = this.#neighborOf(session);
    const { peer } = neighbor;
    this.#options.log("bgp session is down", { neighbor: session.name, why: ended.text });
    if (peer === undefined) return;
    this.evpn.down(peer);
    this.#restart.down(neighbor, { kind: "down", negotiated, graceful, nowMs: monotonicMs() });
    this.#work.schedule();
  }

  #update(session: BgpSession, bytes: Uint8Array, at: number, end: number): BgpError | undefined {
    const peer = this.#neighbors.get(session.name)?.peer;
    if (peer === undefined) return undefined;
    const reaction = this.rib.receive(peer, bytes, at, end, monotonicMs());
    if (reaction !== 0) this.#faults.tell(session.name, this.rib.faults, monotonicMs());
    this.#work.schedule();
    return reaction === RESET ? this.rib.error : undefined;
  }

  #refresh(session: BgpSession, { family, subtype }: Refresh): void {
    const peer = this.#neighbors.get(session.name)?.peer;
    if (peer === undefined) return;
    // RFC 7313 section 4: between the two marks all routes are said again; what is not, is gone.
    if (subtype === REFRESH.begin) this.rib.markStale(peer, family);
    else if (subtype === REFRESH.end) this.rib.sweepStale(peer, family);
    else this.rib.refresh(peer, family);
    this.#work.schedule();
  }

  /** askAgain asks a neighbor for its routes (RFC 2918); false where it cannot be asked. */
  askAgain(name: string): boolean {
    const session = this.#neighbors.get(name)?.session;
    const negotiated = session?.negotiated;
    if (session === undefined || negotiated === undefined || !negotiated.refresh) return false;
    for (const family of negotiated.families)
      session.send(encodeRefresh({ family, subtype: REFRESH.request }));
    return true;
  }

  /** reset ends a session, which then begins again. */
  reset(name: string): boolean {
    const session = this.#neighbors.get(name)?.session;
    if (session === undefined) return false;
    const error = administrative(CEASE.administrativeReset, "reset by the operator");
    session.stop({ error, automatic: true });
    return true;
  }

  /** pathDown is BFD's word that a neighbor cannot be reached. `hard`: its BFD outlives its control plane, so that this is no restart (RFC 5882 section 4.3). */
  pathDown(name: string, { hard }: { readonly hard: boolean }): void {
    const neighbor = this.#neighbors.get(name);
    // RFC 5882 section 4.3: what is kept for its restart is not forwarded any more.
    if (neighbor?.session.negotiated === undefined) return hard ? this.#restart.abort(neighbor) : undefined;
    const error = bgpError(ERROR.cease, CEASE.bfdDown, { text: "BFD says that the path is down" });
    neighbor.session.stop({ error, automatic: true, hard });
  }

  #changed(session: BgpSession): void {
    const neighbor = this.#neighbors.get(session.name);
    if (neighbor !== undefined) neighbor.sinceMs = monotonicMs();
    this.#options.onChange?.();
  }

  #limit(
    peer: RibPeer,
    { family, routes, kind }: { family: BgpFamily; routes: number; kind: LimitKind },
  ): void {
    const neighbor = this.#byPeer.get(peer);
    if (neighbor === undefined || neighbor.limited !== undefined) return;
    const name = familyName(family);
    this.#options.log("bgp neighbor has many routes", { neighbor: neighbor.name, family: name, routes });
    if (kind === "warning") return;
    const text = `more than the maximum of ${name} routes: ${routes}${kind === "stored" ? " with those rejected" : ""}`;
    neighbor.limited = text;
    const error = bgpError(ERROR.cease, CEASE.maximumPrefixes, { text });
    // Within the reading of a message: the session ends when that is over.
    queueMicrotask(() =>
      neighbor.session.stop({ error, automatic: true, restartAfterMs: LIMIT_PAUSE_MS, hard: true }),
    );
  }

  #endOfRib(peer: RibPeer, family: BgpFamily): void {
    const neighbor = this.#byPeer.get(peer);
    if (neighbor === undefined) return;
    this.evpn.endOfRib(peer, family);
    this.#restart.help(neighbor, { kind: "end-of-rib", family, nowMs: monotonicMs() });
    this.#restart.defer({ kind: "end-of-rib", peer: neighbor.name, family });
  }

  /** shutdown ends all sessions with a cease: this router is not coming back (RFC 9003). */
  shutdown(text: string): void {
    const error = administrative(CEASE.administrativeShutdown, text);
    for (const { session } of this.neighbors) session.stop({ error, hard: true });
    this.#kernel?.shutdown();
  }

  /** Connections end without a word, so that neighbors keep our routes until we are back (RFC 4724). */
  [Symbol.dispose](): void {
    this.#work[Symbol.dispose]();
    this.#restart[Symbol.dispose]();
    this.#kernel?.[Symbol.dispose]();
    this.io[Symbol.dispose]();
  }
}

const LOCAL_ROUTE: PathAttributes = { origin: "igp", asPath: [] };
