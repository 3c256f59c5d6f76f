/**
 * When a node gives up UDP and speaks to its hubs over TLS, and when it comes back: a pure machine.
 *
 * ```
 *        no hub answers by UDP            TLS is open
 *  udp ───────────────────────▶ opening ─────────────▶ tls ──┐ probes UDP now and then
 *   ▲  ▲                           │                    ▲    │
 *   │  └── a hub answers by UDP ───┘        UDP is silent│    │ several answers in a row
 *   │                                                   │    ▼
 *   └──────────── held long enough ──────────────── returning (UDP is used, TLS stays open)
 * ```
 * Silence is counted from a probe that was asked and not answered: a node that asks nothing learns nothing. Each return that does not last
 * makes the next one harder, so that a network that lets UDP through only sometimes does not make a node wander.
 */

/** TlsMode is what the node's operator wants: `auto` where UDP does not work, `never`, or `always`. */
export type TlsMode = "auto" | "never" | "always";

/** tlsModes are the words for it. */
export const tlsModes = ["auto", "never", "always"] as const;

/** UplinkState is what the node does now. */
export interface UplinkState {
  readonly kind: "udp" | "opening" | "tls" | "returning";
  readonly sinceMs: number;
  /** When the oldest UDP probe that has no answer was sent, and how many there are. */
  readonly asked?: { readonly sinceMs: number; readonly count: number };
  /** While on TLS: answers by UDP in a row. */
  readonly answers: number;
  /** While on TLS: when UDP is probed next. */
  readonly probeAtMs: number;
  /** Returns to UDP that did not last. */
  readonly relapses: number;
  /** Whether a TLS connection is open. */
  readonly tlsOpen: boolean;
}

/** UplinkEvent is what happened. Probes and answers are those of hubs, by UDP. */
export type UplinkEvent =
  | { readonly kind: "asked" }
  | { readonly kind: "answered" }
  | { readonly kind: "tls-opened" }
  | { readonly kind: "tls-lost" }
  /** Interfaces, addresses or routes changed: what was learnt may be wrong. */
  | { readonly kind: "moved" }
  | { readonly kind: "tick" };

/** UplinkEffect is what is to be done: make or end the TLS connection; give the peers one endpoint or the other; ask a hub by UDP. */
export type UplinkEffect = "open-tls" | "close-tls" | "use-tls" | "use-udp" | "probe-udp";

/** UplinkStep is the next state with what is to be done, in order. */
export interface UplinkStep {
  readonly state: UplinkState;
  readonly effects: readonly UplinkEffect[];
}

/** UPLINK has the times of the machine. */
export const UPLINK = {
  /** UDP is silent: so long without an answer, to so many probes. */
  silenceMs: 5000,
  silentProbes: 3,
  /** On TLS, UDP is probed so often, rarer and rarer; and at once again while it answers. */
  firstProbeMs: 10_000,
  longestProbeMs: 300_000,
  confirmMs: 1000,
  /** UDP works: so many answers in a row; more after each return that did not last. */
  answers: 3,
  mostAnswers: 24,
  /** After a return TLS stays open so long, in case it does not last. */
  holdMs: 30_000,
  /** UDP that works for so long is well: relapses are forgotten. */
  wellMs: 600_000,
} as const;

/**
 * firstUplink is the state of a node that starts; always with TLS, it opens it at once. Where TLS connections are open from before, as an
 * agent finds that was started again, they stay in use.
 */
export function firstUplink(
  mode: TlsMode,
  options: { readonly nowMs: number; readonly tlsOpen?: boolean },
): UplinkStep {
  const { nowMs, tlsOpen = false } = options;
  const state: UplinkState = {
    kind: mode === "always" ? "opening" : "udp",
    sinceMs: nowMs,
    answers: 0,
    probeAtMs: Number.POSITIVE_INFINITY,
    relapses: 0,
    tlsOpen,
  };
  if (mode === "never") return { state: { ...state, tlsOpen: false }, effects: [] };
  if (tlsOpen) return { state: onTls(state, nowMs), effects: ["open-tls", "use-tls"] };
  return { state, effects: mode === "always" ? ["open-tls"] : [] };
}

/** stepUplink is told what happened. With `never` nothing ever comes of it. */
export function stepUplink(
  state: UplinkState,
  event: UplinkEvent,
  options: { readonly mode: TlsMode; readonly nowMs: number },
): UplinkStep {
  const { mode, nowMs } = options;
  if (mode === "never") return { state, effects: [] };
  const seen = observe(state, event, nowMs);
  if (mode === "always") return stepAlways(seen, nowMs);
  switch (seen.kind) {
    case "udp":
    case "returning":
      return stepUdp(seen, nowMs);
    case "opening":
      return stepOpening(seen, event, nowMs);
    case "tls":
      return stepTls(seen, event, nowMs);
  }
}

/** What an event says, whatever the state. */
function observe(state: UplinkState, event: UplinkEvent, nowMs: number): UplinkState {
  const { asked, ...rest } = state;
  switch (event.kind) {
    case "asked":
      return { ...state, asked: { sinceMs: asked?.sinceMs ?? nowMs, count: (asked?.count ?? 0) + 1 } };
    case "answered":
      return { ...rest, answers: state.answers + 1 };
    case "tls-opened":
      return { ...state, tlsOpen: true };
    case "tls-lost":
      return { ...state, tlsOpen: false };
    // Silence of a network that we have left says nothing of this one.
    case "moved":
      return rest;
    case "tick":
      return state;
  }
}

function silent({ asked }: UplinkState, nowMs: number): boolean {
  return (
    asked !== undefined && asked.count >= UPLINK.silentProbes && nowMs - asked.sinceMs >= UPLINK.silenceMs
  );
}

/** Another kind begins, with nothing asked. */
function become(state: UplinkState, kind: UplinkState["kind"], nowMs: number): UplinkState {
  const { asked: _, ...rest } = state;
  return { ...rest, kind, sinceMs: nowMs, answers: 0, probeAtMs: Number.POSITIVE_INFINITY };
}

function stepAlways(state: UplinkState, nowMs: number): UplinkStep {
  if (state.kind !== "opening" || !state.tlsOpen) return { state, effects: [] };
  return { state: become(state, "tls", nowMs), effects: ["use-tls"] };
}

function stepUdp(state: UplinkState, nowMs: number): UplinkStep {
  const relapsed = state.kind === "returning" || state.relapses > 0;
  if (silent(state, nowMs)) {
    const relapses = relapsed ? state.relapses + 1 : state.relapses;
    const next = { ...state, relapses };
    if (state.tlsOpen) return { state: onTls(next, nowMs), effects: ["use-tls"] };
    // Of a connection that is kept, or made again by itself, nobody has to be told.
    const effects: UplinkEffect[] = state.kind === "returning" ? [] : ["open-tls"];
    return { state: become(next, "opening", nowMs), effects };
  }
  if (state.kind === "returning" && nowMs - state.sinceMs >= UPLINK.holdMs)
    return { state: { ...become(state, "udp", nowMs), relapses: state.relapses }, effects: ["close-tls"] };
  if (state.kind === "udp" && state.relapses > 0 && nowMs - state.sinceMs >= UPLINK.wellMs)
    return { state: { ...state, relapses: 0 }, effects: [] };
  return { state, effects: [] };
}

function stepOpening(state: UplinkState, event: UplinkEvent, nowMs: number): UplinkStep {
  if (event.kind === "answered") return { state: become(state, "udp", nowMs), effects: ["close-tls"] };
  if (state.tlsOpen) return { state: onTls(state, nowMs), effects: ["use-tls"] };
  return { state, effects: [] };
}

function onTls(state: UplinkState, nowMs: number): UplinkState {
  return { ...become(state, "tls", nowMs), probeAtMs: nowMs + UPLINK.firstProbeMs };
}

function stepTls(state: UplinkState, event: UplinkEvent, nowMs: number): UplinkStep {
  // Where TLS is gone as well, one answer is better than nothing.
  const enough = state.tlsOpen ? answersWanted(state.relapses) : 1;
  if (state.answers >= enough) return { state: become(state, "returning", nowMs), effects: ["use-udp"] };
  if (event.kind === "answered")
    return { state: { ...state, probeAtMs: nowMs + UPLINK.confirmMs }, effects: [] };
  const due = nowMs >= state.probeAtMs || event.kind === "moved" || event.kind === "tls-lost";
  if (!due) return { state, effects: [] };
  // A probe whose predecessor has no answer ends a row.
  const lost = state.asked !== undefined;
  const { asked: _, ...rest } = state;
  const pause = lost || state.answers === 0 ? nextPause(state, nowMs) : UPLINK.confirmMs;
  return {
    state: {
      ...rest,
      answers: lost ? 0 : state.answers,
      probeAtMs: nowMs + (state.tlsOpen ? pause : UPLINK.confirmMs),
    },
    effects: ["probe-udp"],
  };
}

/** answersWanted returns how many answers in a row UDP has to give, after so many returns that did not last. */
export function answersWanted(relapses: number): number {
  return Math.min(UPLINK.mostAnswers, UPLINK.answers * 2 ** relapses);
}

/** The longer it is on TLS, the rarer it asks: a third of the time that has passed. */
function nextPause(state: UplinkState, nowMs: number): number {
  return Math.min(UPLINK.longestProbeMs, Math.max(UPLINK.firstProbeMs, (nowMs - state.sinceMs) / 3));
}
