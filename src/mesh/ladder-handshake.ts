/**
 * Handshakes that the ladder has made, because WireGuard would begin one too late: to move to a relay, which learns both ends by it; to repeat
 * one that was lost, which WireGuard does after 5 s; and to end two that crossed, which kernels begin again and again at the same moment.
 *
 * One is begun by making the peer anew with a keepalive. The controlling side does that at once, the other when it waited in vain.
 */
import * as draftOf from "./ladder-draft.ts";
import type { Draft } from "./ladder-draft.ts";
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
  state.handshake = { sinceMs: workedMs, dueMs: nowMs + delayMs, attempts: 0, looked: delayMs === 0 };
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
  if (!state.controlling && handshake.postponed !== true && state.traffic.rxMs === state.traffic.atMs) {
    state.handshake = { ...handshake, postponed: true, looked: false, dueMs: nowMs + timing.GRACE_MS };
    return;
  }
  const waitMs = timing.HANDSHAKE_MS[handshake.attempts];
  if (waitMs === undefined || (state.renewals > 1 && handshake.attempts > 0)) {
    // The peer is away; WireGuard calls it when there is something to say.
    endHandshake(draft);
    return;
  }
  state.generation++;
  const { heardMs, saidMs, endpoint } = state.traffic;
  state.traffic = {
    ...(heardMs === undefined ? {} : { heardMs }),
    ...(saidMs === undefined ? {} : { saidMs }),
    ...(endpoint === undefined ? {} : { endpoint }),
  };
  const dueMs = nowMs + waitMs * (state.controlling ? 1 : 2);
  state.handshake = { sinceMs: nowMs, dueMs, attempts: handshake.attempts + 1, looked: false };
  effects.push({ kind: "use" });
}

/** followHandshake takes one that was seen: it is what was waited for, whoever began it, unless it went another way. */
export function followHandshake(draft: Draft, handshakeMs: number): void {
  const { state } = draft;
  const { handshake, path, traffic } = state;
  state.renewals = 0;
  if (handshake === undefined || handshakeMs < handshake.sinceMs - timing.CLOCKS_MS) return;
  const { endpoint } = traffic;
  const direct = endpoint !== undefined && draftOf.relayAt(state, endpoint) === undefined;
  if (path.kind !== "relay" || !direct) endHandshake(draft);
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
