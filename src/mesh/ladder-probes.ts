/** What comes from the peer itself: its pings, and its answers to ours. */
import { type Endpoint, endpointEqual } from "../net/mod.ts";
import { spendAnswer } from "./answers.ts";
import { rungOf } from "./candidates.ts";
import * as draftOf from "./ladder-draft.ts";
import type { Draft } from "./ladder-draft.ts";
import { toDirect, toRelay } from "./ladder-path.ts";
import { beginRound, isNominee } from "./ladder-rounds.ts";
import type { Attempt, LadderEvent, LadderState } from "./ladder-state.ts";
import * as timing from "./ladder-timing.ts";
import { stepPathMtu } from "./path-mtu.ts";

type EventOf<K extends LadderEvent["kind"]> = Extract<LadderEvent, { readonly kind: K }>;

/** onPing answers, and takes the place where it came from for a candidate. */
export function onPing(draft: Draft, event: EventOf<"ping">): void {
  const { state, nowMs, effects } = draft;
  // Nobody probes here; and somebody may play an old ping back as often as he likes.
  if (state.mode === "hubs" || !mayAnswer(draft, event.transaction)) return;
  const { from, transaction, sizeBytes } = event;
  if (draftOf.probes(state, nowMs)) hear(draft, event);
  const chosen = state.path.kind === "direct";
  effects.push({ kind: "pong", to: from, transaction, chosen, sizeBytes });
}

function hear(draft: Draft, event: EventOf<"ping">): void {
  const { state, nowMs } = draft;
  const { from } = event;
  if (draftOf.attemptAt(state, from) === undefined && !addReflexive(draft, from)) return;
  draftOf.change(draft, from, (one) => ({
    ...one,
    heardMs: nowMs,
    // The peer knows better what its own address is; what it takes for a LAN or an open address is one for both.
    ...(event.rung !== undefined && !one.named ? { rung: event.rung } : {}),
    ...(event.chosen ? { askedMs: nowMs } : {}),
  }));
  follow(draft, from);
  const attempt = draftOf.attemptAt(state, from) as Attempt;
  const provenMs = attempt.pongMs ?? Number.NEGATIVE_INFINITY;
  if (nowMs - provenMs >= timing.CHOSEN_MS && !draftOf.isInUse(state, from)) checkOnce(draft, attempt);
}

/** An answer to a ping is a ping, but not to all of them: nobody makes us send more than he does. */
function checkOnce(draft: Draft, attempt: Attempt): void {
  const last = attempt.unanswered.at(-1);
  const gapMs = attempt.sentInRound > 0 || attempt.nextMs !== undefined ? timing.DOUBT_PING_MS : 1_000;
  if (last === undefined || draft.nowMs - last.sentMs >= gapMs) draftOf.ping(draft, attempt.endpoint);
}

/** The controlled side goes where it is asked to, if that is proven to it too: a ping alone may be one that somebody plays back. */
function follow(draft: Draft, endpoint: Endpoint): void {
  const { state, nowMs } = draft;
  const attempt = draftOf.attemptAt(state, endpoint);
  if (state.controlling || attempt?.askedMs === undefined || nowMs - attempt.askedMs >= timing.NOMINATION_MS)
    return;
  if (draftOf.isInUse(state, endpoint) || !isProvenToFollow(attempt, nowMs)) return;
  if (draftOf.settledMs(attempt) > nowMs) return;
  // WireGuard has just gone elsewhere by itself: packets of the peer come from there.
  const { path } = state;
  if (path.kind === "direct" && path.roamedMs !== undefined && nowMs - path.roamedMs < timing.TALK_MS) return;
  toDirect(draft, endpoint);
}

function isProvenToFollow(attempt: Attempt, nowMs: number): boolean {
  return attempt.pongMs !== undefined && nowMs - attempt.pongMs < 2 * timing.PROOF_MS;
}

function mayAnswer({ state, nowMs }: Draft, transaction: bigint): boolean {
  const [answers, answered] = spendAnswer(state.answers, { transaction, nowMs }, timing.ANSWER_RATE);
  state.answers = answers;
  return answered;
}

/** addReflexive makes a candidate of where the peer called from; the oldest one of its kind makes room. */
export function addReflexive(draft: Draft, endpoint: Endpoint): boolean {
  const { state, nowMs } = draft;
  if (nowMs - (state.reflexiveMs ?? Number.NEGATIVE_INFINITY) < timing.REFLEXIVE_MS) return false;
  const free = (one: Attempt) =>
    !one.named && !draftOf.isInUse(state, one.endpoint) && !isNominee(state, one);
  if (state.attempts.length >= timing.MAX_ATTEMPTS) {
    const [oldest] = state.attempts.filter(free).sort((a, b) => (a.heardMs ?? 0) - (b.heardMs ?? 0));
    if (oldest === undefined) return false;
    state.attempts = state.attempts.filter((one) => one !== oldest);
  }
  state.reflexiveMs = nowMs;
  const candidate = { endpoint, rung: rungOf(endpoint), source: "peer-reflexive" } as const;
  state.attempts = [...state.attempts, draftOf.newAttempt(candidate, false)];
  if (state.round.kind === "trying")
    draftOf.change(draft, endpoint, (one) => ({
      ...one,
      rounds: 1,
      nextMs: nowMs + (timing.ROUND_AT_MS[1] as number),
    }));
  return true;
}

/** onPong takes the answer to a ping of ours: the path works in both directions. */
export function onPong(draft: Draft, event: EventOf<"pong">): void {
  const { state, nowMs } = draft;
  const { from, transaction, chosen } = event;
  const attempt = draftOf.attemptAt(state, from);
  const ping = attempt?.unanswered.find((one) => one.transaction === transaction);
  // An answer from elsewhere proves nothing of where we sent to; nor does one to nothing of ours.
  if (attempt === undefined || ping === undefined) return;
  const used = draftOf.isInUse(state, from);
  const hadAgreed = attempt.chosenMs !== undefined;
  draftOf.change(draft, from, ({ chosenMs: _, ...one }) => answered(one, { ping, nowMs, chosen }));
  if (ping.padded && used) {
    const { sizeBytes } = event;
    state.mtu = stepPathMtu(state.mtu, { kind: "pong", nowMs, transaction, sizeBytes })[0];
  }
  if (chosen && state.nominee !== undefined && endpointEqual(state.nominee.endpoint, from)) {
    toDirect(draft, from);
    return;
  }
  follow(draft, from);
  if (used && chosen) bringBack(draft);
  if (used && !chosen && ping.sentMs >= state.path.sinceMs) notChosen(draft, { agreed: hadAgreed });
}

function answered(
  attempt: Omit<Attempt, "chosenMs">,
  options: {
    readonly ping: { readonly sentMs: number; readonly padded: boolean };
    readonly nowMs: number;
    readonly chosen: boolean;
  },
): Attempt {
  const { ping, nowMs, chosen } = options;
  const tookMs = nowMs - ping.sentMs;
  const { rttMs } = attempt;
  return {
    ...attempt,
    pongMs: nowMs,
    loss: ping.padded ? attempt.loss : attempt.loss * (7 / 8),
    rttMs: ping.padded && rttMs !== undefined ? rttMs : smooth(rttMs, tookMs),
    unanswered: attempt.unanswered.filter((one) => one.sentMs > ping.sentMs || (one.padded && !ping.padded)),
    ...(chosen ? { chosenMs: nowMs } : {}),
  };
}

function smooth(before: number | undefined, tookMs: number): number {
  return before === undefined ? tookMs : before + (tookMs - before) / 8;
}

/** The peer answers here and uses a relay itself: it left, or has not come yet. */
function notChosen(draft: Draft, options: { readonly agreed: boolean }): void {
  const { state, nowMs } = draft;
  if (state.path.kind !== "direct") return;
  // The controlling side's next ping asks again; after a restart, and after roaming, that takes a moment.
  const patience = options.agreed ? 0 : timing.NOMINATION_MS;
  if (nowMs - state.path.sinceMs < patience || state.relays.length === 0) return;
  toRelay(draft);
  beginRound(draft, 0, { invite: false });
}

/** Both are on the direct path, and packets through the relay led the device away from it. */
function bringBack({ state, effects }: Draft): void {
  const { endpoint } = state.traffic;
  if (endpoint !== undefined && draftOf.relayAt(state, endpoint) !== undefined) effects.push({ kind: "use" });
}

/** agreedLately tells whether the peer said a moment ago that it uses the direct path. */
export function agreedLately(state: LadderState, nowMs: number): boolean {
  const { chosenMs } = draftOf.inUse(state) ?? {};
  return chosenMs !== undefined && nowMs - chosenMs < timing.CHOSEN_MS;
}
