/**
 * Handshakes that the ladder has made, because WireGuard would begin one too late: to move to a relay, which learns both ends by it; to repeat
 * one that was lost, which WireGuard does after 5 s; to end two that crossed, which kernels begin again and again at the same moment; and to
 * make a session again that the device lost.
 *
 * One is begun by making the peer anew with a keepalive. The controlling side does that at once, the other when it waited in vain.
 */
import * as draftOf from "./ladder-draft.ts";
import type { Draft } from "./ladder-draft.ts";
import type { LadderState } from "./ladder-state.ts";
import * as timing from "./ladder-timing.ts";

/**
 * wantHandshake has a handshake made. One that was made since `workedMs`, when the old path was known to work, is the peer's, and is as good.
 */
export function wantHandshake(
  draft: Draft,
  options: { readonly delayMs: number; readonly workedMs?: number },
): void {
  const { state, nowMs } = draft;
  const { delayMs, workedMs = nowMs - 1_000 } = options;
  // One that is to be made at once is not put off.
  const atOnce = delayMs === 0;
  const postponed = atOnce ? timing.MOST_POSTPONED : 0;
  state.handshake = { sinceMs: workedMs, dueMs: nowMs + delayMs, attempts: 0, looked: atOnce, postponed };
  turnHandshake(draft);
}

/** endHandshake ends the wait: it was seen, or is not wanted any more. */
export function endHandshake({ state, effects }: Draft): void {
  if (state.handshake === undefined) return;
  if (state.handshake.attempts > 0) effects.push({ kind: "use" });
  delete state.handshake;
}

/** turnHandshake makes the peer anew when that is due. */
export function turnHandshake(draft: Draft): void {
  const { state, nowMs, effects } = draft;
  const { handshake } = state;
  if (handshake === undefined || handshake.dueMs > nowMs) return;
  if (!handshake.looked) {
    // Lest the peer is made anew for a handshake that has just come.
    state.handshake = { ...handshake, looked: true, dueMs: nowMs + timing.LOOK_MS };
    effects.push({ kind: "look" });
    return;
  }
  if (yields(draft, handshake)) return;
  const waitsMs = state.controlling ? timing.HANDSHAKE_MS : timing.HANDSHAKE_CONTROLLED_MS;
  const waitMs = waitsMs[handshake.attempts];
  if (waitMs === undefined || (state.renewals > 1 && handshake.attempts > 0)) {
    // The peer is away; WireGuard calls it when there is something to say.
    endHandshake(draft);
    return;
  }
  state.generation++;
  // Its counters begin anew too; a reading from before is still possible.
  const { handshakeMs: _, wantedMs: __, unheardMs: ___, ...traffic } = state.traffic;
  state.traffic = traffic;
  const rttMs = state.path.kind === "relay" ? (state.path.relay.rttMs ?? 0) : 0;
  const dueMs = nowMs + Math.max(waitMs, 3 * rttMs);
  const attempts = handshake.attempts + 1;
  state.handshake = { sinceMs: nowMs, dueMs, attempts, postponed: 0, looked: false };
  effects.push({ kind: "use" });
}

/**
 * A handshake is put off when something came in: the other side's is perhaps under way, and would be undone. With our own engine it may also be what the
 * other side goes on sending under the sessions of before, which cannot be told apart here: so it is put off a few times at most.
 */
function yields({ state, nowMs }: Draft, handshake: NonNullable<LadderState["handshake"]>): boolean {
  const { rxMs, atMs } = state.traffic;
  const first = handshake.attempts === 0;
  const came = rxMs !== undefined && (first ? rxMs === atMs : rxMs > handshake.sinceMs);
  if (!came || handshake.postponed >= (state.controlling ? 1 : timing.MOST_POSTPONED)) return false;
  const controlledMs = first ? timing.GRACE_MS : timing.POSTPONE_MS;
  const dueMs = nowMs + (state.controlling ? timing.POSTPONE_CONTROLLING_MS : controlledMs);
  state.handshake = { ...handshake, postponed: handshake.postponed + 1, looked: false, dueMs };
  return true;
}

/** followHandshake takes one that was seen: it is what was waited for, whoever began it, unless it went another way. */
export function followHandshake(draft: Draft, handshakeMs: number): void {
  const { state } = draft;
  const { handshake, path, traffic } = state;
  state.renewals = 0;
  // One that came before the peer was made anew is gone.
  const margin = handshake?.attempts === 0 ? timing.CLOCKS_MS : timing.CLOCKS_MS / 10;
  if (handshake === undefined || handshakeMs < handshake.sinceMs - margin) return;
  const { endpoint } = traffic;
  const direct = endpoint !== undefined && draftOf.relayAt(state, endpoint) === undefined;
  if (path.kind !== "relay" || !direct) endHandshake(draft);
}

/** repeatHandshake has one made that the hub could not have let through; unless it did. */
export function repeatHandshake(draft: Draft): void {
  const { state, nowMs } = draft;
  const { handshake } = state;
  if (handshake === undefined || handshake.attempts === 0) wantHandshake(draft, { delayMs: 0 });
  else state.handshake = { ...handshake, looked: false, dueMs: nowMs };
}

/**
 * remakeSession has one made where the device lost its session, and not by our doing: its process ended and another began. The peer does not
 * know, and sends under what is gone until its WireGuard misses an answer, for 15 s (Keepalive-Timeout and Rekey-Timeout). `shakenMs` is when
 * the lost one was made.
 */
export function remakeSession(draft: Draft, shakenMs: number): void {
  const { state, nowMs } = draft;
  const { rxBytes = 0, txBytes = 0 } = state.traffic;
  // Where it has said something already, it has begun one by itself.
  const begun = state.handshake !== undefined || rxBytes > 0 || txBytes > 0;
  if (begun || nowMs - shakenMs >= timing.SESSION_MS) return;
  wantHandshake(draft, { delayMs: state.controlling ? 0 : timing.LOST_CONTROLLED_MS, workedMs: nowMs });
}

/** renewHandshake lets one be made where WireGuard's own does not come about: not too often, for the peer may just be away. */
export function renewHandshake(draft: Draft, delayMs: number): void {
  const { state, nowMs } = draft;
  const restMs = Math.min(timing.MOST_RENEW_MS, timing.RENEW_MS * 2 ** state.renewals);
  if (state.handshake !== undefined || nowMs < (state.renewedMs ?? Number.NEGATIVE_INFINITY) + restMs) return;
  state.renewedMs = nowMs;
  state.renewals++;
  wantHandshake(draft, { delayMs });
}
