/**
 * Graceful restart of both parts: routes of neighbors that restart are kept, and after our own restart nothing is selected too early. Also what
 * becomes of those who never say End-of-RIB.
 */
import { type BgpRouter, neighborName, neighborOptions } from "../../resources/mod.ts";
import { after, monotonicMs } from "../../sys/mod.ts";
import type { Rib } from "../rib/mod.ts";
import {
  type DeferralEvent,
  type DeferralState,
  HELPER_DEFAULTS,
  type HelperConfig,
  type HelperEffect,
  type HelperEvent,
  helperDeadline,
  type Negotiated,
  startDeferral,
  stepDeferral,
  stepHelper,
} from "../session/mod.ts";
import { type BgpFamily, ROUTE_TARGET } from "../wire/mod.ts";
import { familyWishes, isReflectorClient } from "./neighbor-config.ts";
import type { SpeakerNeighbor } from "./speaker-neighbor.ts";

/** Selection_Deferral_Timer (RFC 4724 section 4.1): a neighbor that is away may not hold up all others for long. */
const DEFERRAL_MS = 60_000;
/**
 * RFC 4724 section 4.1 has nobody wait for a neighbor that has restarted too, lest both wait for ever. FRR says that for two minutes after its start,
 * and has routes all the same: it is waited for, but not long.
 */
const BOTH_RESTARTED_MS = 5_000;
/** A router of the same process is waited for until it has waited for all of its own neighbors, and has told what it has then. */
const HOLD_MS = DEFERRAL_MS + 2 * BOTH_RESTARTED_MS;
/** How long a neighbor that promised no End-of-RIB (RFC 4724) gets everything, and has time to say which route targets it wants (RFC 4684 section 6). */
const WANTS_MS = 10_000;

/** GracefulRestartOptions say whose routes these are. */
export interface GracefulRestartOptions {
  readonly rib: Rib;
  readonly neighbors: () => Iterable<SpeakerNeighbor>;
  /** How long stale routes stay after End-of-RIB. */
  readonly sweepMs: () => number;
  /** The tables have something to do. */
  readonly onWork: () => void;
}

/** GracefulRestart owns the timers of both parts. */
export class GracefulRestart implements Disposable {
  readonly #options: GracefulRestartOptions;
  #deferral: DeferralState | undefined;
  /** The same, with those that have restarted too waited for like all others. */
  #sweeping: DeferralState | undefined;
  #helperTimer: Disposable | undefined;
  readonly #deferralTimers = new Set<Disposable>();
  readonly #wantsTimers = new Map<SpeakerNeighbor, Disposable>();
  readonly #holds = new Set<Disposable>();
  #disposed = false;

  constructor(options: GracefulRestartOptions) {
    this.#options = options;
  }

  /** Families that wait for neighbors to say all they know, after a restart. */
  get deferred(): readonly BgpFamily[] {
    return [...(this.#deferral?.families.keys() ?? [])];
  }

  get isDeferring(): boolean {
    return this.#deferral !== undefined;
  }

  /**
   * Whether routes that were forwarded before our restart may be announced yet. RFC 4724 section 4.1 removes them after selection; but of two that have
   * restarted one has to choose and to speak before it has heard the other, and would remove what the other says a moment later.
   */
  get keepsFormer(): boolean {
    return this.#deferral !== undefined || this.#sweeping !== undefined;
  }

  /** down keeps or removes the routes of a session that has ended. */
  down(neighbor: SpeakerNeighbor, event: Extract<HelperEvent, { kind: "down" }>): void {
    const { peer } = neighbor;
    if (peer === undefined) return;
    const { rib } = this.#options;
    const before = neighbor.helper;
    const effects = this.#effects(neighbor, event);
    const at = (wanted: HelperEffect["kind"], wantedFamily: BgpFamily) =>
      effects.findIndex(({ kind, family }) => kind === wanted && family === wantedFamily);
    const keep = new Set(effects.filter(({ kind }) => kind === "stale").map(({ family }) => family));
    // What was stale before stays where nothing says that it goes first.
    const again = new Set(
      [...keep].filter((family) => {
        const sweep = at("sweep", family);
        return before.has(family) && (sweep < 0 || sweep > at("stale", family));
      }),
    );
    rib.down(peer, { keep, again });
    for (const [i, { kind, family }] of effects.entries())
      if (kind === "long-lived") rib.markLongLived(peer, family);
      // Behind its mark: there is no time to wait for.
      else if (kind === "sweep" && i > at("stale", family)) rib.sweepStale(peer, family);
    this.#arm();
  }

  /** abort removes the routes of a neighbor that were kept for its restart: it does not forward meanwhile. */
  abort(neighbor: SpeakerNeighbor | undefined): void {
    if (neighbor?.peer === undefined) return;
    neighbor.helper = new Map();
    this.#options.rib.down(neighbor.peer, { keep: new Set() });
    this.#arm();
    this.#options.onWork();
  }

  /** help takes what else happens to a neighbor whose routes may be stale. */
  help(neighbor: SpeakerNeighbor, event: HelperEvent): void {
    const { rib, onWork } = this.#options;
    const { peer } = neighbor;
    if (peer === undefined) return;
    if (event.kind === "up") this.#awaitWants(neighbor, event.negotiated);
    for (const { kind, family } of this.#effects(neighbor, event))
      if (kind === "stale") rib.markStale(peer, family);
      else if (kind === "long-lived") rib.markLongLived(peer, family);
      else rib.sweepStale(peer, family);
    this.#arm();
    onWork();
  }

  #awaitWants(neighbor: SpeakerNeighbor, negotiated: Negotiated): void {
    this.#wantsTimers.get(neighbor)?.[Symbol.dispose]();
    this.#wantsTimers.delete(neighbor);
    if (!negotiated.families.has(ROUTE_TARGET) || negotiated.restart !== undefined) return;
    const timer = after(WANTS_MS, () => {
      this.#wantsTimers.delete(neighbor);
      if (neighbor.peer === undefined || neighbor.session.negotiated !== negotiated) return;
      this.#options.rib.endWants(neighbor.peer);
      this.#options.onWork();
    });
    this.#wantsTimers.set(neighbor, timer);
  }

  #effects(neighbor: SpeakerNeighbor, event: HelperEvent) {
    const [state, effects] = stepHelper(neighbor.helper, event, this.#configOf(neighbor));
    neighbor.helper = state;
    return effects;
  }

  /** What a client says of itself is all there is. */
  #configOf({ options }: SpeakerNeighbor): HelperConfig {
    const sweepMs = this.#options.sweepMs();
    return { ...HELPER_DEFAULTS, sweepMs: isReflectorClient(options) ? 0 : sweepMs, patient: sweepMs > 0 };
  }

  #arm(): void {
    this.#helperTimer?.[Symbol.dispose]();
    let first = Number.POSITIVE_INFINITY;
    for (const { helper } of this.#options.neighbors())
      first = Math.min(first, helperDeadline(helper) ?? first);
    if (first === Number.POSITIVE_INFINITY || this.#disposed) return;
    this.#helperTimer = after(Math.max(0, first - monotonicMs()), () => {
      for (const neighbor of this.#options.neighbors())
        this.help(neighbor, { kind: "time", nowMs: monotonicMs() });
    });
  }

  /** begin waits for the neighbors of a router that has restarted. */
  begin(router: BgpRouter): void {
    if (router.restartMs === 0) return;
    const peers = new Map(
      router.neighbors.map((wish) => {
        const options = neighborOptions(router, wish);
        return [
          neighborName(wish),
          options.shutdown === true ? [] : [...familyWishes(options).keys()],
        ] as const;
      }),
    );
    const { deferralMs = DEFERRAL_MS } = router;
    const deferral = startDeferral({ nowMs: monotonicMs(), deferralMs, peers });
    if (deferral.families.size === 0) return;
    this.#deferral = deferral;
    // One that began with us chooses at its limit, and speaks then.
    this.#sweeping = { ...deferral, untilMs: deferral.untilMs + BOTH_RESTARTED_MS };
    for (const ms of [deferralMs, deferralMs + BOTH_RESTARTED_MS])
      this.#deferralTimers.add(after(ms, () => this.defer({ kind: "time", nowMs: monotonicMs() })));
  }

  /** hold has neighbors told no End-of-RIB before it is disposed, or HOLD_MS have passed; all else they are told. */
  hold(): Disposable {
    const { rib, onWork } = this.#options;
    const release = () => {
      timer[Symbol.dispose]();
      if (!this.#holds.delete(hold)) return;
      rib.holdsEnds = this.#holds.size > 0;
      if (!rib.holdsEnds && !this.#disposed) onWork();
    };
    const timer = after(HOLD_MS, release);
    const hold = { [Symbol.dispose]: release };
    this.#holds.add(hold);
    rib.holdsEnds = true;
    return hold;
  }

  /** defer takes what a neighbor does while it may be waited for. */
  defer(event: DeferralEvent): void {
    if (!this.keepsFormer) return;
    this.#sweeping = stepped(this.#sweeping, asOther(event));
    if (event.kind === "up" && event.negotiated.restart?.restarting === true)
      this.#deferralTimers.add(after(BOTH_RESTARTED_MS, () => this.#choose(event)));
    else this.#choose(event);
  }

  #choose(event: DeferralEvent): void {
    this.#deferral = stepped(this.#deferral, event);
    if (this.#deferral === undefined) this.#options.onWork();
    if (!this.keepsFormer) this.#endTimers();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const hold of [...this.#holds]) hold[Symbol.dispose]();
    this.#helperTimer?.[Symbol.dispose]();
    this.#endTimers();
    for (const timer of this.#wantsTimers.values()) timer[Symbol.dispose]();
  }

  #endTimers(): void {
    for (const timer of this.#deferralTimers) timer[Symbol.dispose]();
    this.#deferralTimers.clear();
  }
}

function stepped(state: DeferralState | undefined, event: DeferralEvent): DeferralState | undefined {
  if (state === undefined) return undefined;
  const [next] = stepDeferral(state, event);
  return next.families.size === 0 ? undefined : next;
}

/** What a neighbor says that has restarted too, as if it had not. */
function asOther(event: DeferralEvent): DeferralEvent {
  if (event.kind !== "up" || event.negotiated.restart === undefined) return event;
  const restart = { ...event.negotiated.restart, restarting: false };
  return { ...event, negotiated: { ...event.negotiated, restart } };
}
