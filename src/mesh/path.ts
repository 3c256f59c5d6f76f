/**
 * The direct way to one node: a state machine that tries endpoints one after the other, and says whether the node is heard.
 *
 * ```
 *            heard                 steady                nothing for 3 keepalives
 *  trying ──────────▶ settling ─────────────▶ up ─────────────────────────────────▶ trying
 *    │ ▲ after the last candidate                (resting and waiting hear as well: the other side may call)
 *    ▼ │ rest over, candidates changed, invited
 *  resting
 * ```
 * The probe is WireGuard's own handshake: the peer is there with no allowed IPs, an endpoint and a keepalive. `heard` means that
 * authenticated packets came in; the other side says the same of us, and the hub publishes the pair as direct when both do, so
 * that one-way paths are never used. WireGuard learns a moved endpoint by itself; hence nothing is set while the path is up.
 *
 * No clock, no device: times come with events, the device is read by the agent once a second.
 */
import { type Endpoint, endpointEqual, formatEndpoint } from "../net/mod.ts";

/** DIRECT_KEEPALIVE_SECONDS between keepalives of a direct path. */
export const DIRECT_KEEPALIVE_SECONDS = 5;

/** A path is lost when nothing came in for three keepalives. */
const LOST_MS = 3 * DIRECT_KEEPALIVE_SECONDS * 1000;
/** One try: WireGuard repeats its first message after 5 s plus jitter, so each endpoint gets one at least. */
const TRY_MS = 7_000;
/** Rest after the first, second, … round without success; the last one repeats. */
const REST_MS = [15_000, 30_000, 60_000, 120_000, 300_000] as const;
/** A path that was lost must be steady for this time, doubled each time, before it is called up again. */
const SETTLE_MS = 5_000;
const MAX_SETTLE_MS = 160_000;
/** Losses are forgiven after this time up. */
const FORGIVE_MS = 600_000;
/** WireGuard's session is dead after this time (REJECT_AFTER_TIME). */
const SESSION_MS = 180_000;

/** PathPhase is where the machine is. */
export type PathPhase =
  | { readonly kind: "waiting" }
  | { readonly kind: "trying"; readonly index: number; readonly sinceMs: number; readonly round: number }
  | { readonly kind: "settling"; readonly sinceMs: number }
  | { readonly kind: "up"; readonly sinceMs: number }
  | { readonly kind: "resting"; readonly untilMs: number; readonly round: number };

/** PathState is one pair's state at this node. */
export interface PathState {
  readonly phase: PathPhase;
  readonly candidates: readonly Endpoint[];
  /** The endpoint that is set on the peer; WireGuard may know a newer one. */
  readonly endpoint?: Endpoint;
  /** What was reported last; absent: nothing yet, so that a restart disturbs nothing. */
  readonly reported?: boolean;
  readonly startedMs: number;
  readonly rxBytes?: number;
  readonly heardMs?: number;
  /** Times the path was up and lost. */
  readonly losses: number;
}

/** PathEvent is what happened. `nowMs` is monotonic. */
export type PathEvent =
  | { readonly kind: "candidates"; readonly nowMs: number; readonly candidates: readonly Endpoint[] }
  /** The device was read. `handshakeAgeMs` is absent before the first handshake; `endpoint` is where the device sends to. */
  | {
      readonly kind: "observed";
      readonly nowMs: number;
      readonly rxBytes: number;
      readonly handshakeAgeMs?: number;
      readonly endpoint?: Endpoint;
    }
  /** The other side begins a round now; trying at the same time opens NATs on both sides. */
  | { readonly kind: "invited"; readonly nowMs: number };

/** PathEffect is to be carried out by the agent. */
export type PathEffect =
  /** `pathUse` changed: compute the peer's scope anew. */
  | { readonly kind: "use" }
  /** Tell the hub. */
  | { readonly kind: "report"; readonly up: boolean }
  /** Ask the other side, through the hub, to try now as well. */
  | { readonly kind: "invite" };

/** PathStep is the new state and what to do. */
export type PathStep = readonly [PathState, readonly PathEffect[]];

/** startPath begins; `endpoint` and `rxBytes` are what the device has for a peer that it knows already. */
export function startPath(options: {
  readonly nowMs: number;
  readonly candidates: readonly Endpoint[];
  readonly endpoint?: Endpoint;
  /** Absent when unknown: then the first reading is the base, and what came in before it does not count. */
  readonly rxBytes?: number;
}): PathStep {
  const { nowMs, candidates, endpoint, rxBytes } = options;
  const state: PathState = {
    phase: { kind: "waiting" },
    candidates,
    startedMs: nowMs,
    losses: 0,
    ...(rxBytes === undefined ? {} : { rxBytes }),
  };
  const first = endpoint === undefined ? state : { ...state, endpoint };
  // The known endpoint gets the first try.
  return endpoint === undefined
    ? beginRound(first, nowMs, 0)
    : [trying(first, nowMs, -1, 0), [{ kind: "use" }]];
}

/** pathUse returns what to set on the peer. Without keepalive WireGuard is silent, but answers. */
export function pathUse(state: PathState): {
  readonly endpoint?: Endpoint;
  readonly keepaliveSeconds?: number;
} {
  const silent = state.phase.kind === "resting" || state.phase.kind === "waiting";
  return {
    ...(state.endpoint === undefined ? {} : { endpoint: state.endpoint }),
    ...(silent ? {} : { keepaliveSeconds: DIRECT_KEEPALIVE_SECONDS }),
  };
}

/** stepPath takes one event. */
export function stepPath(state: PathState, event: PathEvent): PathStep {
  switch (event.kind) {
    case "candidates":
      return onCandidates(state, event.candidates, event.nowMs);
    case "invited":
      return state.phase.kind === "resting"
        ? quietly(beginRound(state, event.nowMs, state.phase.round))
        : [state, []];
    case "observed":
      return onObserved(state, event);
  }
}

function onCandidates(state: PathState, candidates: readonly Endpoint[], nowMs: number): PathStep {
  const same =
    candidates.length === state.candidates.length &&
    candidates.every((candidate, i) => endpointEqual(candidate, state.candidates[i] as Endpoint));
  if (same) return [state, []];
  const next = { ...state, candidates };
  // A path that is heard stays as it is; the new list serves when it is lost.
  const { phase, endpoint } = state;
  if (phase.kind === "up" || phase.kind === "settling") return [next, []];
  // What is being tried has its time: WireGuard may just have learned where the node really is, which setting an endpoint would undo.
  const index = candidates.findIndex((one) => endpoint !== undefined && endpointEqual(one, endpoint));
  if (phase.kind === "trying" && index >= 0) return [{ ...next, phase: { ...phase, index } }, []];
  return quietly(beginRound(next, nowMs, 0));
}

function onObserved(state: PathState, event: PathEvent & { kind: "observed" }): PathStep {
  const { nowMs, rxBytes, handshakeAgeMs } = event;
  const alive = handshakeAgeMs !== undefined && handshakeAgeMs < SESSION_MS;
  // The first reading is the base; a lower one means that the peer was made anew, with what it had learned forgotten.
  const anew = state.rxBytes !== undefined && rxBytes < state.rxBytes;
  const heard = alive && state.rxBytes !== undefined && rxBytes > state.rxBytes;
  const fresh: PathState = { ...state, rxBytes, ...(heard ? { heardMs: nowMs } : {}) };
  const lost = anew && (state.phase.kind === "up" || state.phase.kind === "settling");
  const [next, effects] = lost
    ? beginRound(fresh, nowMs, 0)
    : heard
      ? onHeard(fresh, event)
      : onSilence(fresh, nowMs);
  return report(next, effects, nowMs);
}

function onHeard(state: PathState, { nowMs, endpoint }: PathEvent & { kind: "observed" }): PathStep {
  const { phase } = state;
  switch (phase.kind) {
    case "up":
      if (state.losses > 0 && nowMs - phase.sinceMs >= FORGIVE_MS) return [{ ...state, losses: 0 }, []];
      return [state, []];
    case "settling":
      return nowMs - phase.sinceMs >= settleMs(state)
        ? [{ ...state, phase: { kind: "up", sinceMs: nowMs } }, []]
        : [state, []];
    default: {
      const kind = settleMs(state) === 0 ? "up" : "settling";
      // Where it was heard from is what is wanted from now on: a candidate that is just about to be set would undo what WireGuard has learned.
      const where = endpoint === undefined ? {} : { endpoint };
      return changed(state, { ...state, ...where, phase: { kind, sinceMs: nowMs } });
    }
  }
}

function onSilence(state: PathState, nowMs: number): PathStep {
  const { phase } = state;
  switch (phase.kind) {
    case "up":
    case "settling": {
      if (nowMs - (state.heardMs ?? phase.sinceMs) < LOST_MS) return [state, []];
      const losses = state.losses + (phase.kind === "up" ? 1 : 0);
      return beginRound({ ...state, losses }, nowMs, 0);
    }
    case "trying": {
      if (nowMs - phase.sinceMs < TRY_MS) return [state, []];
      if (phase.index + 1 < state.candidates.length)
        return changed(state, trying(state, nowMs, phase.index + 1, phase.round));
      if (state.candidates.length === 0) return changed(state, { ...state, phase: { kind: "waiting" } });
      const rest = REST_MS[Math.min(phase.round, REST_MS.length - 1)] as number;
      return changed(state, {
        ...state,
        phase: { kind: "resting", untilMs: nowMs + rest, round: phase.round + 1 },
      });
    }
    case "resting":
      return nowMs >= phase.untilMs ? beginRound(state, nowMs, phase.round) : [state, []];
    case "waiting":
      return [state, []];
  }
}

/** Says what is not said yet. At the start nothing is down before it had its time, so that a restart keeps direct pairs direct. */
function report(state: PathState, effects: readonly PathEffect[], nowMs: number): PathStep {
  const up = state.phase.kind === "up";
  if (state.reported === up) return [state, effects];
  if (!up && state.reported === undefined && nowMs - state.startedMs < LOST_MS) return [state, effects];
  return [{ ...state, reported: up }, [...effects, { kind: "report", up }]];
}

function beginRound(state: PathState, nowMs: number, round: number): PathStep {
  if (state.candidates.length === 0) return changed(state, { ...state, phase: { kind: "waiting" } });
  const [next, effects] = changed(state, trying(state, nowMs, 0, round));
  return [next, [...effects, { kind: "invite" }]];
}

/** A round that the other side knows of begins without an invitation. */
function quietly([state, effects]: PathStep): PathStep {
  return [state, effects.filter((effect) => effect.kind !== "invite")];
}

/** Index -1 is the endpoint that the device had at the start. */
function trying(state: PathState, nowMs: number, index: number, round: number): PathState {
  const candidate = state.candidates[index];
  return {
    ...state,
    phase: { kind: "trying", index, sinceMs: nowMs, round },
    ...(candidate === undefined ? {} : { endpoint: candidate }),
  };
}

function changed(before: PathState, after: PathState): PathStep {
  const a = pathUse(before);
  const b = pathUse(after);
  const sameEndpoint =
    a.endpoint === undefined || b.endpoint === undefined
      ? a.endpoint === b.endpoint
      : endpointEqual(a.endpoint, b.endpoint);
  const same = sameEndpoint && a.keepaliveSeconds === b.keepaliveSeconds;
  return [after, same ? [] : [{ kind: "use" }]];
}

function settleMs(state: PathState): number {
  return state.losses === 0 ? 0 : Math.min(SETTLE_MS * 2 ** (state.losses - 1), MAX_SETTLE_MS);
}

/** pathReason says in words why the pair is as it is; `direct` is what the hub has published. */
export function pathReason(state: PathState, direct: boolean): string {
  const { phase, candidates } = state;
  switch (phase.kind) {
    case "up":
      return direct
        ? "heard directly by both"
        : "heard directly; the other side does not hear us, or the hub has not answered yet";
    case "settling":
      return `heard directly, but was lost ${state.losses} time${state.losses === 1 ? "" : "s"}; waits until it is steady`;
    case "trying": {
      const where = state.endpoint === undefined ? "" : ` ${formatEndpoint(state.endpoint)}`;
      return `trying${where} (${Math.max(phase.index, 0) + 1} of ${Math.max(candidates.length, 1)})`;
    }
    case "resting":
      return `no direct answer from ${candidates.map(formatEndpoint).join(", ")}; tried ${phase.round} time${phase.round === 1 ? "" : "s"}, will try again`;
    case "waiting":
      return "no endpoint of it is known; it may still call";
  }
}
