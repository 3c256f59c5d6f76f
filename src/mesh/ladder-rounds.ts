/** Rounds: times in which all candidates that could be better are pinged, and the choice among those that answered. */
import { endpointEqual } from "../net/mod.ts";
import * as draftOf from "./ladder-draft.ts";
import type { Draft } from "./ladder-draft.ts";
import type { Attempt, LadderState } from "./ladder-state.ts";
import * as timing from "./ladder-timing.ts";

/** Whether an attempt could be better than what is used: a better rung, or the same one faster. */
function couldBeBetter(state: LadderState, attempt: Attempt): boolean {
  return !draftOf.isInUse(state, attempt.endpoint) && draftOf.rankOf(attempt.rung) <= draftOf.pathRank(state);
}

/** beginRound tries all candidates that could be better, now. `number` counts rounds without success: it makes the rest after it longer. */
export function beginRound(draft: Draft, number: number, options: { readonly invite: boolean }): void {
  const { state, nowMs, effects } = draft;
  if (!draftOf.probes(state, nowMs) || !state.attempts.some((one) => couldBeBetter(state, one))) {
    state.round = { kind: "off" };
    return;
  }
  state.round = { kind: "trying", sinceMs: nowMs, number };
  let index = 0;
  state.attempts = state.attempts.map((one) =>
    couldBeBetter(state, one) ? scheduled(one, nowMs + timing.PACE_MS * index++) : unscheduled(one),
  );
  const better = state.attempts.some((one) => draftOf.rankOf(one.rung) < draftOf.pathRank(state));
  if (options.invite && better && nowMs - (state.invitedMs ?? Number.NEGATIVE_INFINITY) >= timing.INVITE_MS) {
    state.invitedMs = nowMs;
    effects.push({ kind: "invite" });
  }
}

/** scheduled puts an attempt into the round. */
export function scheduled(attempt: Attempt, nextMs: number): Attempt {
  return { ...attempt, sentInRound: 0, nextMs, rounds: attempt.rounds + 1 };
}

function unscheduled({ nextMs: _, ...attempt }: Attempt): Attempt {
  return attempt;
}

/** retry begins a round because something changed, unless one has just begun. */
export function retry(draft: Draft, options: { readonly invite: boolean }): void {
  const { round } = draft.state;
  if (round.kind === "trying" && draft.nowMs - round.sinceMs < 1_000) return;
  beginRound(draft, 0, options);
}

/** turnRound sends the pings that are due, ends a round, and begins the next. */
export function turnRound(draft: Draft): void {
  const { state, nowMs } = draft;
  const { round } = state;
  if (round.kind === "off") return;
  if (!draftOf.probes(state, nowMs)) {
    state.round = { kind: "off" };
    state.attempts = state.attempts.map(unscheduled);
    return;
  }
  if (round.kind === "resting") {
    if (nowMs >= round.untilMs) beginRound(draft, round.number, { invite: state.controlling });
    if (state.round.kind !== "trying") return;
  }
  for (const { endpoint, nextMs, sentInRound, pongMs } of state.attempts) {
    if (nextMs === undefined || nextMs > nowMs) continue;
    const { round: current } = state;
    const answered = current.kind === "trying" && pongMs !== undefined && pongMs >= current.sinceMs;
    const gapMs = (timing.ROUND_AT_MS[sentInRound + 1] ?? 0) - (timing.ROUND_AT_MS[sentInRound] ?? 0);
    if (!answered) draftOf.ping(draft, endpoint);
    draftOf.change(draft, endpoint, (one) =>
      answered || gapMs <= 0
        ? unscheduled({ ...one, sentInRound: sentInRound + 1 })
        : { ...one, sentInRound: sentInRound + 1, nextMs: nowMs + gapMs },
    );
  }
  if (state.round.kind === "trying" && nowMs >= roundEndMs(state, state.round.sinceMs))
    rest(draft, state.round.number);
}

/** roundEndMs returns when a round is over. */
export function roundEndMs(state: LadderState, sinceMs: number): number {
  return sinceMs + timing.ROUND_MS + timing.PACE_MS * state.attempts.length;
}

function rest(draft: Draft, number: number): void {
  const { state, nowMs } = draft;
  const rank = draftOf.pathRank(state);
  const better = state.attempts.some((one) => draftOf.rankOf(one.rung) < rank);
  const restMs = better
    ? (timing.REST_MS[number] ?? (timing.REST_MS.at(-1) as number))
    : timing.ALTERNATIVES_MS;
  const some = better || state.attempts.some((one) => couldBeBetter(state, one));
  state.attempts = state.attempts.map(unscheduled);
  state.round = some ? { kind: "resting", untilMs: nowMs + restMs, number: number + 1 } : { kind: "off" };
}

/** Whether the pair should move to a proven attempt. */
function worthMoving(state: LadderState, attempt: Attempt, nowMs: number): boolean {
  if (draftOf.isInUse(state, attempt.endpoint) || !draftOf.isProven(attempt, nowMs)) return false;
  if (draftOf.settledMs(attempt) > nowMs) return false;
  if (attempt.refusedMs !== undefined && nowMs - attempt.refusedMs < timing.REFUSED_MS) return false;
  const rank = draftOf.rankOf(attempt.rung) - draftOf.pathRank(state);
  if (rank < 0) return true;
  const used = draftOf.inUse(state);
  if (used === undefined) return false;
  // The peer went there, and does not answer where it was.
  const answeredMs = Math.max(used.pongMs ?? 0, state.path.sinceMs);
  if (
    attempt.askedMs !== undefined &&
    answeredMs < attempt.askedMs &&
    nowMs - attempt.askedMs >= 2 * timing.DOUBT_PING_MS
  )
    return true;
  if (rank > 0 || used.rttMs === undefined || attempt.rttMs === undefined) return false;
  return (
    attempt.rttMs < used.rttMs - timing.FASTER_MS && attempt.rttMs < used.rttMs * (1 - timing.FASTER_SHARE)
  );
}

/** The best attempt to move to, and when to decide: those of better rungs may still answer. */
function choice(
  state: LadderState,
  nowMs: number,
): { readonly best: Attempt; readonly decideMs: number } | undefined {
  if (!state.controlling || state.nominee !== undefined || !draftOf.probes(state, nowMs)) return undefined;
  const [best] = state.attempts
    .filter((one) => worthMoving(state, one, nowMs))
    .sort((a, b) => draftOf.rankOf(a.rung) - draftOf.rankOf(b.rung) || (a.rttMs ?? 0) - (b.rttMs ?? 0));
  if (best === undefined) return undefined;
  const { round } = state;
  if (round.kind !== "trying") return { best, decideMs: nowMs };
  const awaited = state.attempts.some(
    (one) =>
      draftOf.rankOf(one.rung) < draftOf.rankOf(best.rung) &&
      one.rounds > 0 &&
      (one.pongMs === undefined || one.pongMs < round.sinceMs),
  );
  const window = timing.DECIDE_MS + timing.PACE_MS * state.attempts.length + (best.rttMs ?? 0);
  return { best, decideMs: awaited ? round.sinceMs + window : nowMs };
}

/** decideDueMs returns when a choice is to be made that waits now. */
export function decideDueMs(state: LadderState, nowMs: number): number | undefined {
  return choice(state, nowMs)?.decideMs;
}

/** decide lets the controlling side ask the peer to use the best path, again and again until it answers that it does. */
export function decide(draft: Draft): void {
  const { state, nowMs } = draft;
  const { nominee } = state;
  if (nominee !== undefined && nowMs - nominee.sinceMs >= timing.NOMINATION_MS) {
    draftOf.change(draft, nominee.endpoint, (one) => ({ ...one, refusedMs: nowMs }));
    delete state.nominee;
  } else if (nominee !== undefined && nowMs >= nominee.nextMs) {
    state.nominee = { ...nominee, nextMs: nowMs + timing.NOMINATE_MS };
    draftOf.ping(draft, nominee.endpoint);
  }
  const chosen = choice(state, nowMs);
  if (chosen === undefined || chosen.decideMs > nowMs) return;
  const { endpoint } = chosen.best;
  state.nominee = { endpoint, sinceMs: nowMs, nextMs: nowMs + timing.NOMINATE_MS };
  draftOf.ping(draft, endpoint);
}

/** isNominee tells whether an endpoint is the one that the peer is asked to use. */
export function isNominee({ nominee }: LadderState, attempt: Attempt): boolean {
  return nominee !== undefined && endpointEqual(nominee.endpoint, attempt.endpoint);
}
