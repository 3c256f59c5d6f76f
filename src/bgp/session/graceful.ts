/**
 * What becomes of a peer's routes when its session ends: the helper's part of graceful restart (RFC 4724 section 4.2, RFC 8538) and of long-lived
 * graceful restart (RFC 9494 section 4.2), per family, as pure steps.
 *
 * ```
 *            down                    restart time passed                 stale time passed
 *   fresh ──────────▶ restarting ──────────────────────────▶ long-lived ──────────────────▶ swept
 *     ▲                │     │  (without LLGR: swept)            │
 *     │      up, F set │     │ up, F not set: swept              │ up: as restarting, by the F bit of LLGR
 *     │                ▼                                         │
 *     └─── EoR ──── resumed ◀────────────────────────────────────┘
 * ```
 */
import type { BgpFamily } from "../wire/mod.ts";
import type { Negotiated } from "./negotiated.ts";

/** StaleFamily is one family whose routes are stale. */
export interface StaleFamily {
  /** `resumed`: the session is up again, and End-of-RIB has not come. */
  readonly phase: "restarting" | "long-lived" | "resumed";
  readonly untilMs: number;
  /** When the session ended whose routes they are first. */
  readonly sinceMs: number;
  /** How long they may stay on as long-lived stale routes; absent: not at all. */
  readonly longLivedMs?: number;
  /** They bear LLGR_STALE already. */
  readonly longLived: boolean;
}

/** HelperState has the families with stale routes. */
export type HelperState = ReadonlyMap<BgpFamily, StaleFamily>;

/** HelperConfig bounds what a peer asks for. */
export interface HelperConfig {
  /** The most of a peer's restart time that is waited. */
  readonly restartMostMs: number;
  /** How long after it came back its End-of-RIB may take. */
  readonly resumeMs: number;
  /** The most of a peer's long-lived stale time. */
  readonly longLivedMostMs: number;
  /**
   * How long stale routes stay after the first End-of-RIB; 0: not at all, as RFC 4724 has it. A reflector that was cut off from all its clients has
   * said all it knows when the first one is back.
   */
  readonly sweepMs: number;
  /**
   * Whether stale routes stay over another end of the session, up to `resumeMs` after the first; false, as RFC 4724 has it: they go. One that is killed
   * again before it has said End-of-RIB forwards all the time.
   */
  readonly patient: boolean;
}

/** HELPER_DEFAULTS: twice the restart time that speakers announce by default; six minutes as FRR has it; a day. */
export const HELPER_DEFAULTS: HelperConfig = {
  restartMostMs: 240_000,
  resumeMs: 360_000,
  longLivedMostMs: 86_400_000,
  sweepMs: 0,
  patient: false,
};

/** HelperEvent is what happens to a peer's session. */
export type HelperEvent = { readonly nowMs: number } & (
  | { readonly kind: "down"; readonly negotiated: Negotiated; readonly graceful: boolean }
  | { readonly kind: "up"; readonly negotiated: Negotiated }
  | { readonly kind: "end-of-rib"; readonly family: BgpFamily }
  | { readonly kind: "time" }
);

/** HelperEffect is what is to be done with the routes of one family. */
export interface HelperEffect {
  /**
   * `flush`: remove all. `stale`: mark all that there are. `sweep`: remove those marked. `long-lived`: the marked ones get LLGR_STALE and the last
   * place in selection; those with NO_LLGR are removed (RFC 9494 section 4.3).
   */
  readonly kind: "flush" | "stale" | "sweep" | "long-lived";
  readonly family: BgpFamily;
}

/** HelperStep is the outcome of one event. */
export type HelperStep = readonly [HelperState, readonly HelperEffect[]];

/** stepHelper takes one event. */
export function stepHelper(state: HelperState, event: HelperEvent, config: HelperConfig): HelperStep {
  switch (event.kind) {
    case "down":
      return down(state, event, config);
    case "up":
      return up(state, event, config);
    case "end-of-rib": {
      const stale = state.get(event.family);
      if (stale === undefined) return [state, []];
      const left = new Map(state);
      if (config.sweepMs > 0)
        return [
          left.set(event.family, {
            phase: "resumed",
            // Reflectors say it again after each answer to wishes for route targets.
            untilMs: Math.min(stale.untilMs, event.nowMs + config.sweepMs),
            sinceMs: stale.sinceMs,
            longLived: false,
          }),
          [],
        ];
      left.delete(event.family);
      return [left, [{ kind: "sweep", family: event.family }]];
    }
    case "time":
      return time(state, event.nowMs);
  }
}

/** helperDeadline returns when `time` is due; undefined when nothing is stale. */
export function helperDeadline(state: HelperState): number | undefined {
  let first: number | undefined;
  for (const { untilMs } of state.values()) if (first === undefined || untilMs < first) first = untilMs;
  return first;
}

type Event<K extends HelperEvent["kind"]> = Extract<HelperEvent, { kind: K }>;

function down(
  state: HelperState,
  { negotiated, graceful, nowMs }: Event<"down">,
  config: HelperConfig,
): HelperStep {
  const next = new Map<BgpFamily, StaleFamily>();
  const effects: HelperEffect[] = [];
  for (const family of negotiated.families) {
    const restarts = negotiated.restart?.families.has(family) === true;
    const longLived = negotiated.longLived.get(family);
    if (!graceful || (!restarts && longLived === undefined)) {
      effects.push({ kind: "flush", family });
      continue;
    }
    const before = state.get(family);
    // RFC 9494 section 4.2: a session that goes down again does not start the long-lived timer anew, and what is stale stays.
    if (before?.longLived === true) {
      next.set(family, { ...before, phase: "long-lived" });
      effects.push({ kind: "stale", family }, { kind: "long-lived", family });
      continue;
    }
    // RFC 4724 section 4.2: "a route (from the peer) previously marked as stale MUST be deleted".
    const isPatient = config.patient && nowMs - (before?.sinceMs ?? nowMs) < config.resumeMs;
    if (before !== undefined && !isPatient) effects.push({ kind: "sweep", family });
    effects.push({ kind: "stale", family });
    const restartMs = restarts ? Math.min(negotiated.restart?.restartMs ?? 0, config.restartMostMs) : 0;
    next.set(family, {
      phase: "restarting",
      untilMs: nowMs + restartMs,
      sinceMs: isPatient && before !== undefined ? before.sinceMs : nowMs,
      longLived: false,
      ...(longLived === undefined
        ? {}
        : { longLivedMs: Math.min(longLived.staleMs, config.longLivedMostMs) }),
    });
  }
  // What needs no waiting goes on at once.
  const [later, more] = time(next, nowMs);
  return [later, [...effects, ...more]];
}

function up(state: HelperState, { negotiated, nowMs }: Event<"up">, config: HelperConfig): HelperStep {
  const next = new Map<BgpFamily, StaleFamily>();
  const effects: HelperEffect[] = [];
  for (const [family, stale] of state) {
    // RFC 4724 section 4.2: removed at once "if the Forwarding State bit … is not set in the newly received Graceful Restart Capability, or if a
    // specific address family is not included …, or if the Graceful Restart Capability is not received in the re-established session at all".
    const kept = stale.longLived
      ? negotiated.longLived.get(family)?.forwarding === true
      : negotiated.restart?.families.get(family) === true;
    if (!kept || !negotiated.families.has(family)) effects.push({ kind: "sweep", family });
    // RFC 9494 section 4.2: the timer of long-lived routes runs on until End-of-RIB.
    else if (stale.longLived) next.set(family, { ...stale, phase: "resumed" });
    else {
      const { sinceMs } = stale;
      next.set(family, { phase: "resumed", untilMs: nowMs + config.resumeMs, sinceMs, longLived: false });
    }
  }
  return [next, effects];
}

function time(state: HelperState, nowMs: number): HelperStep {
  const next = new Map<BgpFamily, StaleFamily>();
  const effects: HelperEffect[] = [];
  for (const [family, stale] of state) {
    if (stale.untilMs > nowMs) next.set(family, stale);
    else if (stale.phase === "restarting" && stale.longLivedMs !== undefined && stale.longLivedMs > 0) {
      effects.push({ kind: "long-lived", family });
      const { longLivedMs, sinceMs } = stale;
      next.set(family, { phase: "long-lived", untilMs: nowMs + longLivedMs, sinceMs, longLived: true });
    } else effects.push({ kind: "sweep", family });
  }
  return [next, effects];
}
