/** A ladder while it takes a step: a copy that may be changed, what it asks for, and the small verbs that all parts use. */
import { type Endpoint, endpointEqual } from "../net/mod.ts";
import { type Candidate, type Rung, RUNGS } from "./candidates.ts";
import type { Attempt, LadderEffect, LadderEvent, LadderState, Relay, Unanswered } from "./ladder-state.ts";
import * as timing from "./ladder-timing.ts";
import { LEAST_PROBE_BYTES } from "./probe.ts";
import { waitedFor } from "./standstill.ts";

/** A ping whose answer is not waited for any more. */
const FORGOTTEN_MS = 5_000;

/** Draft is one step. Only the outermost object changes; what is inside is replaced. */
export interface Draft {
  readonly nowMs: number;
  readonly state: { -readonly [K in keyof LadderState]: LadderState[K] };
  readonly effects: LadderEffect[];
}

/** rankOf orders rungs, best first. */
export function rankOf(rung: Rung): number {
  return RUNGS.indexOf(rung);
}

/** pathRank returns the rank of the path in use; nothing at all is below the relay. */
export function pathRank(state: LadderState): number {
  const { path } = state;
  if (path.kind === "none") return RUNGS.length;
  if (path.kind === "relay") return rankOf("relay");
  return rankOf(attemptAt(state, path.endpoint)?.rung ?? "punched");
}

/** attemptAt finds what is known of an endpoint. */
export function attemptAt(state: LadderState, endpoint: Endpoint): Attempt | undefined {
  return state.attempts.find((one) => endpointEqual(one.endpoint, endpoint));
}

/** relayAt finds the relay that has an endpoint, whether it can be used now or not. */
export function relayAt(state: LadderState, endpoint: Endpoint): Relay | undefined {
  return (
    state.relays.find((relay) => endpointEqual(relay.endpoint, endpoint)) ??
    state.hubs.find((relay) => endpointEqual(relay.endpoint, endpoint))
  );
}

/** lingersAt returns the relay's endpoint that packets go by while the pair waits for a handshake by another one. */
export function lingersAt({ path, handshake }: LadderState): Endpoint | undefined {
  return path.kind === "relay" && path.lingers === true && handshake?.attempts === 0 ? path.left : undefined;
}

/** isUsable tells whether a relay is one of those that can be used now. */
export function isUsable(state: LadderState, relay: Relay): boolean {
  return state.relays.some(({ hub }) => hub === relay.hub);
}

/** setRelays remembers the hubs too that cannot be used now. */
export function setRelays({ state }: Draft, relays: readonly Relay[]): void {
  const { hubs } = state;
  state.relays = relays;
  const former = hubs.filter((one) => !relays.some(({ endpoint }) => endpointEqual(endpoint, one.endpoint)));
  state.hubs = [...relays, ...former].slice(0, 2 * timing.MAX_RELAYS);
}

/** inUse returns the attempt that is the path in use. */
export function inUse(state: LadderState): Attempt | undefined {
  return state.path.kind === "direct" ? attemptAt(state, state.path.endpoint) : undefined;
}

/** isInUse tells whether an endpoint is the direct path in use. */
export function isInUse(state: LadderState, endpoint: Endpoint): boolean {
  return state.path.kind === "direct" && endpointEqual(state.path.endpoint, endpoint);
}

/** lastTalkMs is when the pair said or heard something last. */
export function lastTalkMs(state: LadderState): number {
  const { heardMs, saidMs } = state.traffic;
  return Math.max(heardMs ?? Number.NEGATIVE_INFINITY, saidMs ?? Number.NEGATIVE_INFINITY);
}

/** talks tells whether packets went either way just now. */
export function talks(state: LadderState, nowMs: number): boolean {
  return nowMs - lastTalkMs(state) < timing.TALK_MS;
}

/** probes tells whether the pair tries direct paths at all now. */
export function probes(state: LadderState, nowMs: number): boolean {
  if (state.mode === "on-demand") return nowMs - lastTalkMs(state) < timing.REST_AFTER_MS;
  return state.mode === "full";
}

/** hasSession tells whether WireGuard has keys with the peer. */
export function hasSession(state: LadderState, nowMs: number): boolean {
  const { handshakeMs } = state.traffic;
  return handshakeMs !== undefined && nowMs - handshakeMs < timing.SESSION_MS;
}

/** isProven tells whether a ping of ours was answered lately. */
export function isProven(attempt: Attempt, nowMs: number): boolean {
  return attempt.pongMs !== undefined && nowMs - attempt.pongMs < timing.PROOF_MS;
}

/** settledMs returns when a path that was lost may be used again. */
export function settledMs(attempt: Attempt): number {
  if (attempt.losses === 0 || attempt.lostMs === undefined) return Number.NEGATIVE_INFINITY;
  return attempt.lostMs + Math.min(timing.MOST_SETTLE_MS, timing.SETTLE_MS * 2 ** (attempt.losses - 1));
}

/** patienceMs is how long an answer may take before it is missed. */
export function patienceMs(attempt: Attempt): number {
  return attempt.rttMs === undefined ? 500 : Math.max(120, Math.min(1000, 2 * attempt.rttMs + 50));
}

/** missedMs is when a ping should have been answered: only time in which this process ran counts. */
export function missedMs({ sentMs, stoodMs = 0 }: Unanswered, patience: number): number {
  return sentMs + patience + stoodMs;
}

/** stand lets the pings of the path in use wait longer, for this process stood still. */
export function stand(draft: Draft, event: Extract<LadderEvent, { readonly kind: "stood" }>): void {
  const attempt = inUse(draft.state);
  if (attempt === undefined) return;
  change(draft, attempt.endpoint, (one) => ({ ...one, unanswered: waitedFor(one.unanswered, event) }));
}

/** missed returns the plain pings that should have been answered by now. */
export function missed(attempt: Attempt, nowMs: number): readonly { readonly sentMs: number }[] {
  const patience = patienceMs(attempt);
  return attempt.unanswered.filter((ping) => !ping.padded && nowMs >= missedMs(ping, patience));
}

/** newAttempt makes the record of an endpoint that was never tried. */
export function newAttempt(candidate: Candidate, named: boolean): Attempt {
  return {
    ...candidate,
    named,
    unanswered: [],
    sentInRound: 0,
    sent: 0,
    rounds: 0,
    loss: 0,
    losses: 0,
  };
}

/** change replaces what is known of an endpoint. */
export function change(draft: Draft, endpoint: Endpoint, by: (attempt: Attempt) => Attempt): void {
  draft.state.attempts = draft.state.attempts.map((one) =>
    endpointEqual(one.endpoint, endpoint) ? by(one) : one,
  );
}

/** ping sends a plain ping, or one of another size. */
export function ping(draft: Draft, endpoint: Endpoint, sizeBytes = LEAST_PROBE_BYTES): bigint | undefined {
  const { state, nowMs } = draft;
  const attempt = attemptAt(state, endpoint);
  if (attempt === undefined) return undefined;
  const transaction = state.nextTransaction;
  state.nextTransaction = BigInt.asUintN(64, transaction + 1n);
  const padded = sizeBytes > LEAST_PROBE_BYTES;
  const used = isInUse(state, endpoint);
  const chosen = used || (state.nominee !== undefined && endpointEqual(state.nominee.endpoint, endpoint));
  draft.effects.push({ kind: "ping", to: endpoint, transaction, chosen, rung: attempt.rung, sizeBytes });
  change(draft, endpoint, (one) => {
    const forgotten = one.unanswered.filter((old) => nowMs >= missedMs(old, FORGOTTEN_MS));
    const kept = one.unanswered.filter((old) => nowMs < missedMs(old, FORGOTTEN_MS));
    return {
      ...one,
      sent: one.sent + 1,
      loss: forgotten.filter((old) => !old.padded).reduce((loss) => loss + (1 - loss) / 8, one.loss),
      unanswered: [...kept, { transaction, sentMs: nowMs, padded }].slice(-timing.MAX_UNANSWERED),
    };
  });
  if (used && !padded) state.pingMs = nowMs;
  return transaction;
}

/** pingSoon sends a plain ping unless one left just now. */
export function pingSoon(draft: Draft, endpoint: Endpoint): void {
  const last = attemptAt(draft.state, endpoint)?.unanswered.at(-1);
  if (last === undefined || draft.nowMs - last.sentMs >= timing.DOUBT_PING_MS) ping(draft, endpoint);
}
