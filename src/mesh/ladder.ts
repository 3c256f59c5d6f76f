/**
 * The ladder of one pair of nodes: same LAN → direct → punched → relay. `stepLadder(state, event) → [state, effects]`; no clock, no socket.
 *
 * ```
 *              pong, nomination, pong "chosen"                    another answers faster, or WireGuard roams
 *   relay ─────────────────────────────────────────▶ direct path ─────────────────────────────────────────▶ direct path
 *     ▲  a round of pings to all candidates, then a rest,   │
 *     │  longer each time; anew when anything changes       │ 5 pings in a row unanswered (12 where many are lost),
 *     └─────────────────────────────────────────────────────┘ or the peer left: a handshake through the relay
 * ```
 * The pair's WireGuard peer is there all the time; a path is its endpoint and nothing more. Moving to a direct path sets the endpoint
 * and loses nothing. Moving to a relay makes the peer anew, so that a handshake goes through the hub, which learns both ends by it.
 *
 * The side with the smaller public key controls: it nominates the path, and makes the handshakes; the other follows, or waits 0.4 s and
 * acts alone. A path is used only after a pong, which proves both directions; where WireGuard roams by itself it is followed, and asked.
 *
 * Parts: ladder-rounds.ts (what is tried, and chosen), ladder-path.ts (what is used), ladder-handshake.ts, ladder-probes.ts (what the peer says),
 * ladder-observed.ts (what the device says), ladder-explain.ts (what people see).
 */
import { type Endpoint, endpointEqual } from "../net/mod.ts";
import { startAnswers } from "./answers.ts";
import type { Candidate } from "./candidates.ts";
import * as draftOf from "./ladder-draft.ts";
import type { Draft } from "./ladder-draft.ts";
import { onObserved } from "./ladder-observed.ts";
import { repeatHandshake, turnHandshake } from "./ladder-handshake.ts";
import { moveTo, nextPingMs, toRelay, turnPath } from "./ladder-path.ts";
import { onPing, onPong } from "./ladder-probes.ts";
import { beginRound, decide, decideDueMs, retry, roundEndMs, turnRound } from "./ladder-rounds.ts";
import type { LadderEvent, LadderMode, LadderState, LadderStep, LadderUse, Relay } from "./ladder-state.ts";
import * as timing from "./ladder-timing.ts";
import { pathMtuDueMs, pathMtuOf, startPathMtu, tunnelMtuOf } from "./path-mtu.ts";

/** LadderStart is what the caller knows when a ladder begins. */
export interface LadderStart {
  readonly nowMs: number;
  /** Our public key is the smaller one of the two. */
  readonly controlling: boolean;
  readonly mode: LadderMode;
  /** Random: transactions of a former life are not ours. */
  readonly seed: bigint;
  readonly relays: readonly Relay[];
  readonly candidates: readonly Candidate[];
  /** What the device has of the peer, if it has it already: that is not disturbed. */
  readonly known?: {
    readonly endpoint?: Endpoint;
    readonly rxBytes: number;
    readonly txBytes: number;
    readonly handshakeAgeMs?: number;
  };
  /** The first round begins so much later: a node that meets a thousand at once spreads them. */
  readonly delayMs?: number;
}

/** startLadder begins: on what the device uses, else on the best relay at once; no packet waits for probing. */
export function startLadder(options: LadderStart): LadderStep {
  const { nowMs, known, delayMs = 0 } = options;
  const relays = options.relays.slice(0, timing.MAX_RELAYS);
  const start: LadderState = {
    controlling: options.controlling,
    mode: options.mode,
    startedMs: nowMs,
    nextTransaction: BigInt.asUintN(64, options.seed),
    generation: 0,
    relays,
    hubs: relays,
    attempts: options.candidates.map((one) => draftOf.newAttempt(one, true)),
    path: { kind: "none", sinceMs: nowMs },
    round: { kind: "resting", untilMs: nowMs + delayMs, number: 0 },
    // A peer that is made now has said nothing.
    traffic: known === undefined ? { rxBytes: 0, txBytes: 0 } : {},
    renewals: 0,
    mtu: startPathMtu(4),
    pingMs: nowMs,
    answers: startAnswers(timing.ANSWER_RATE, nowMs),
    changes: 0,
  };
  return step(start, nowMs, (draft) => {
    if (known !== undefined) onObserved(draft, { kind: "observed", nowMs, ...known });
    adopt(draft, known?.endpoint);
  });
}

/** Begins where the device is, whichever that is. */
function adopt(draft: Draft, endpoint: Endpoint | undefined): void {
  const { state } = draft;
  if (state.path.kind !== "none") return;
  if (endpoint === undefined || draftOf.relayAt(state, endpoint) !== undefined) {
    const relay = endpoint === undefined ? state.relays[0] : draftOf.relayAt(state, endpoint);
    if (relay !== undefined) moveTo(draft, relay, { handshake: false });
    return;
  }
  if (draftOf.attemptAt(state, endpoint) === undefined)
    state.attempts = [
      ...state.attempts,
      draftOf.newAttempt({ endpoint, rung: "punched", source: "peer-reflexive" }, false),
    ];
  state.path = { kind: "direct", endpoint, sinceMs: draft.nowMs, looksMs: [] };
  state.mtu = startPathMtu(endpoint.ip.family, draftOf.attemptAt(state, endpoint)?.linkMtuBytes);
  draft.effects.push({ kind: "use" });
  draftOf.ping(draft, endpoint);
}

/** stepLadder takes one event. */
export function stepLadder(state: LadderState, event: LadderEvent): LadderStep {
  return step(state, event.nowMs, (draft) => take(draft, event));
}

function take(draft: Draft, event: LadderEvent): void {
  switch (event.kind) {
    case "candidates":
      return onCandidates(draft, event.candidates);
    case "relays":
      return onRelays(draft, event.relays.slice(0, timing.MAX_RELAYS));
    case "ping":
      return onPing(draft, event);
    case "pong":
      return onPong(draft, event);
    case "observed":
      return onObserved(draft, event);
    case "invited":
      // The other side has something to say.
      if (draft.state.mode === "on-demand")
        draft.state.traffic = { ...draft.state.traffic, heardMs: draft.nowMs };
      return retry(draft, { invite: false });
    case "stood":
      return draftOf.stand(draft, event);
    case "network":
      return onNetwork(draft, event.moved === true);
    case "mode":
      draft.state.mode = event.mode;
      return retry(draft, { invite: false });
    case "due":
      return;
  }
}

/** Every event is followed by what the time demands. */
function step(before: LadderState, nowMs: number, work: (draft: Draft) => void): LadderStep {
  const draft: Draft = { nowMs, state: { ...before }, effects: [] };
  work(draft);
  turnMode(draft);
  turnHandshake(draft);
  turnPath(draft);
  turnRound(draft);
  decide(draft);
  const mtu = ladderMtu(draft.state)?.pathBytes;
  if (mtu !== ladderMtu(before)?.pathBytes) draft.effects.push({ kind: "mtu" });
  return [draft.state, draft.effects];
}

/** A pair that may not be direct, or rests, goes to a relay. */
function turnMode(draft: Draft): void {
  const { state, nowMs } = draft;
  if (draftOf.probes(state, nowMs)) return;
  delete state.nominee;
  if (state.path.kind === "direct" && nowMs >= (restsAtMs(state) ?? Number.POSITIVE_INFINITY)) toRelay(draft);
}

/** When a direct path is left because nothing is said; not at once where WireGuard has just gone by itself. */
function restsAtMs(state: LadderState): number | undefined {
  if (state.relays.length === 0) return undefined;
  const idleMs = state.mode === "hubs" ? 0 : draftOf.lastTalkMs(state) + timing.REST_AFTER_MS;
  return Math.max(state.path.sinceMs + timing.NOMINATION_MS, idleMs);
}

function onCandidates(draft: Draft, candidates: readonly Candidate[]): void {
  const { state } = draft;
  const known = candidates.flatMap((candidate) => {
    const one = draftOf.attemptAt(state, candidate.endpoint);
    return one === undefined ? [] : [{ ...one, ...candidate, named: true }];
  });
  const fresh = candidates
    .filter(({ endpoint }) => draftOf.attemptAt(state, endpoint) === undefined)
    .map((candidate) => draftOf.newAttempt(candidate, true));
  const unnamed = state.attempts
    .filter((one) => !candidates.some(({ endpoint }) => endpointEqual(endpoint, one.endpoint)))
    .filter((one) => one.source === "peer-reflexive" || draftOf.isInUse(state, one.endpoint))
    .map((one) => ({ ...one, named: false }));
  state.attempts = [...known, ...fresh, ...unnamed].slice(0, timing.MAX_ATTEMPTS);
  if (fresh.length > 0 && !isDelayed(draft)) beginRound(draft, 0, { invite: state.controlling });
}

/** The first round was put off, so that not all pairs begin at once. */
function isDelayed({ state, nowMs }: Draft): boolean {
  return state.round.kind === "resting" && state.round.number === 0 && state.round.untilMs > nowMs;
}

function onRelays(draft: Draft, relays: readonly Relay[]): void {
  const { state, nowMs } = draft;
  const [best] = relays;
  draftOf.setRelays(draft, relays);
  const { path } = state;
  if (best === undefined) return;
  if (path.kind === "none") return moveTo(draft, best, { handshake: false });
  if (path.kind === "direct") {
    // After a restart hubs become known later than what the device uses.
    const relay = draftOf.relayAt(state, path.endpoint);
    if (relay !== undefined) moveTo(draft, relay, { handshake: false });
    return;
  }
  const alive =
    draftOf.hasSession(state, nowMs) || draftOf.talks(state, nowMs) || state.handshake !== undefined;
  const same = relays.find(({ hub }) => hub === path.relay.hub);
  if (same === undefined) return moveTo(draft, best, { handshake: alive });
  const elsewhere = !endpointEqual(same.endpoint, path.relay.endpoint);
  const forgot = path.relay.instance !== undefined && same.instance !== path.relay.instance;
  if (elsewhere || (forgot && same.instance !== undefined))
    return moveTo(draft, same, { handshake: alive, ...(forgot ? { delayMs: timing.GREET_MS } : {}) });
  // An instance that is not known now is known to have been.
  state.path = { ...path, relay: { ...path.relay, ...same } };
  const dwelt = nowMs - path.sinceMs >= timing.DWELL_MS && state.handshake === undefined;
  if (state.controlling && dwelt && best.hub !== same.hub) moveTo(draft, best, { handshake: alive });
}

function onNetwork(draft: Draft, moved: boolean): void {
  const { state } = draft;
  if (state.path.kind === "direct") draftOf.pingSoon(draft, state.path.endpoint);
  // Hubs are greeted from where we are now, and relay for our session as before (tunnel/relay); a handshake that was begun earlier was lost.
  if (moved && state.path.kind === "relay" && state.handshake !== undefined) repeatHandshake(draft);
  if (!isDelayed(draft)) retry(draft, { invite: true });
}

/** ladderDueMs returns when to step `due`; undefined while the pair rests. */
export function ladderDueMs(state: LadderState, nowMs: number): number | undefined {
  const { path, round, nominee } = state;
  const times: (number | undefined)[] = [state.handshake?.dueMs, nominee?.nextMs, decideDueMs(state, nowMs)];
  const attempt = draftOf.inUse(state);
  if (path.kind === "direct" && attempt !== undefined) {
    const patience = draftOf.patienceMs(attempt);
    const late = attempt.unanswered.find((one) => !one.padded && draftOf.missedMs(one, patience) > nowMs);
    times.push(nextPingMs(state, nowMs), late && draftOf.missedMs(late, patience), ...path.looksMs);
    const { rttMs = 500, pongMs } = attempt;
    const active = draftOf.talks(state, nowMs);
    if (pongMs !== undefined) times.push(pathMtuDueMs(state.mtu, { nowMs, rttMs, active, pongMs }));
  }
  if (path.kind === "direct" && state.mode !== "full") times.push(restsAtMs(state));
  if (round.kind === "resting" && draftOf.probes(state, nowMs)) times.push(round.untilMs);
  if (round.kind === "trying") {
    times.push(roundEndMs(state, round.sinceMs));
    for (const { nextMs } of state.attempts) times.push(nextMs);
  }
  const due = Math.min(...times.map((ms) => ms ?? Number.POSITIVE_INFINITY));
  return Number.isFinite(due) ? Math.max(due, nowMs) : undefined;
}

/** ladderUse returns what the device's peer shall be. */
export function ladderUse(state: LadderState): LadderUse {
  const { path, generation } = state;
  if (path.kind === "none") return { generation };
  const handshake = (state.handshake?.attempts ?? 0) > 0;
  return {
    endpoint: path.kind === "direct" ? path.endpoint : (draftOf.lingersAt(state) ?? path.relay.endpoint),
    generation,
    ...(handshake ? { keepaliveSeconds: timing.HANDSHAKE_KEEPALIVE_SECONDS } : {}),
  };
}

/** ladderMtu returns what the path and a tunnel over it carry; undefined while it is not known. */
export function ladderMtu(
  state: LadderState,
): { readonly pathBytes: number; readonly tunnelBytes: number } | undefined {
  const { path } = state;
  if (path.kind === "none") return undefined;
  const direct = path.kind === "direct";
  const pathBytes = direct ? pathMtuOf(state.mtu) : path.relay.mtuBytes;
  const { family } = direct ? path.endpoint.ip : path.relay.endpoint.ip;
  return pathBytes === undefined ? undefined : { pathBytes, tunnelBytes: tunnelMtuOf(pathBytes, family) };
}

/** relayingHub returns the hub through which the pair talks now. */
export function relayingHub(state: LadderState, nowMs: number): string | undefined {
  const { path } = state;
  return path.kind === "relay" && draftOf.talks(state, nowMs) ? path.relay.hub : undefined;
}

/** awaitsAnswer tells whether a ping on the direct path in use was not answered yet: then it matters that this process stood still. */
export function awaitsAnswer(state: LadderState): boolean {
  return (draftOf.inUse(state)?.unanswered.length ?? 0) > 0;
}

/** hearingHub returns the hub through which something came in the reading of the device at that moment. */
export function hearingHub({ path, traffic, handshake }: LadderState, readMs: number): string | undefined {
  const { rxMs, endpoint } = traffic;
  // A peer that was made anew is set to this hub, and hears by the one before what is sent under the sessions of before.
  if ((handshake?.attempts ?? 0) > 0) return undefined;
  if (path.kind !== "relay" || rxMs !== readMs || endpoint === undefined) return undefined;
  return endpointEqual(endpoint, path.relay.endpoint) ? path.relay.hub : undefined;
}
