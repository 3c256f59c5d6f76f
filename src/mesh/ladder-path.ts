/** The path in use: moving to a direct one, falling back to a relay, and whether it lives. */
import { type Endpoint, endpointEqual } from "../net/mod.ts";
import * as draftOf from "./ladder-draft.ts";
import type { Draft } from "./ladder-draft.ts";
import { wantHandshake } from "./ladder-handshake.ts";
import { beginRound } from "./ladder-rounds.ts";
import type { Attempt, LadderState, Relay } from "./ladder-state.ts";
import * as timing from "./ladder-timing.ts";
import { isTooSmall, leastMtu, startPathMtu, stepPathMtu } from "./path-mtu.ts";

/** toDirect moves the pair to an endpoint: nothing is lost, for the session stays. */
export function toDirect(
  draft: Draft,
  endpoint: Endpoint,
  options: { readonly roamed?: boolean } = {},
): void {
  const { state, nowMs, effects } = draft;
  const roamed = options.roamed === true;
  state.path = {
    kind: "direct",
    endpoint,
    sinceMs: nowMs,
    looksMs: roamed ? [] : timing.LOOKS_MS.map((ms) => nowMs + ms),
    ...(roamed ? { roamedMs: nowMs } : {}),
  };
  state.changes++;
  state.traffic = { ...state.traffic, endpoint };
  delete state.nominee;
  state.mtu = startPathMtu(endpoint.ip.family, draftOf.attemptAt(state, endpoint)?.linkMtuBytes);
  effects.push({ kind: "use" });
  draftOf.ping(draft, endpoint);
}

/** lose takes the pair off a direct path that does not work, and remembers why. */
export function lose(draft: Draft, why: string): void {
  const { state, nowMs } = draft;
  const attempt = draftOf.inUse(state);
  if (attempt === undefined) return;
  draftOf.change(draft, attempt.endpoint, ({ chosenMs: _, askedMs: __, pongMs: ___, ...one }) => ({
    ...one,
    unanswered: [],
    losses: one.losses + 1,
    lostMs: nowMs,
    lostWhy: why,
  }));
  toRelay(draft, attempt.pongMs ?? state.path.sinceMs);
  beginRound(draft, 0, { invite: true });
}

/** toRelay falls back. Where WireGuard went to a relay by itself, it is followed; else a handshake through the best one is made. */
export function toRelay(draft: Draft, workedMs = draft.nowMs - timing.GRACE_MS): void {
  const { state, nowMs } = draft;
  const { endpoint } = state.traffic;
  const at = endpoint === undefined ? undefined : draftOf.relayAt(state, endpoint);
  const there = at !== undefined && draftOf.isUsable(state, at) ? at : undefined;
  const relay = there ?? state.relays[0];
  if (relay === undefined) {
    // WireGuard keeps its endpoint: it may come back.
    state.path = { kind: "none", sinceMs: nowMs };
    return;
  }
  moveTo(draft, relay, { handshake: there === undefined, workedMs });
}

/** moveTo moves the pair to a relay. The other side does not know; a handshake tells it, and the hub who we are. */
export function moveTo(
  draft: Draft,
  relay: Relay,
  options: { readonly handshake: boolean; readonly workedMs?: number; readonly delayMs?: number },
): void {
  const { state, nowMs, effects } = draft;
  const left = draftOf.lingersAt(state) ?? state.traffic.endpoint;
  const { handshake, delayMs = 0, ...worked } = options;
  const waitMs = delayMs + (state.controlling ? 0 : timing.GRACE_MS);
  const before = left === undefined ? undefined : draftOf.relayAt(state, left);
  // The same hub elsewhere is where it was no more.
  const isOther = before !== undefined && before.hub !== relay.hub;
  const lingers = handshake && waitMs > 0 && isOther && draftOf.hasSession(state, nowMs);
  state.path = {
    ...{ kind: "relay", relay, sinceMs: nowMs },
    ...(left === undefined ? {} : { left }),
    ...(lingers ? { lingers } : {}),
  };
  state.changes++;
  state.traffic = { ...state.traffic, endpoint: relay.endpoint };
  delete state.nominee;
  if (!lingers) effects.push({ kind: "use" });
  if (handshake) wantHandshake(draft, { ...worked, delayMs: waitMs });
}

/** Packets come in from there, though pings are not answered. */
function hears({ traffic, path }: LadderState, nowMs: number): boolean {
  const { heardMs, endpoint } = traffic;
  if (path.kind !== "direct" || heardMs === undefined || nowMs - heardMs > timing.HEARING_MS) return false;
  return endpoint !== undefined && endpointEqual(endpoint, path.endpoint);
}

/** How long the path may be silent: no packet is lost while none is said, or while they come in. */
function silencePatienceMs(state: LadderState, nowMs: number): number {
  if (hears(state, nowMs)) return timing.HEARING_PATIENCE_MS;
  const { saidMs } = state.traffic;
  return saidMs !== undefined && nowMs - saidMs <= timing.TALK_MS / 4 ? 0 : timing.SILENT_PATIENCE_MS;
}

/** Unanswered pings in a row that a path of this loss has once in hundred thousand. */
function needed(attempt: Attempt): number {
  if (attempt.loss <= 0.05) return timing.LEAST_UNANSWERED;
  const count = Math.ceil(Math.log(1e-5) / Math.log(Math.min(0.9, attempt.loss)));
  return Math.max(timing.LEAST_UNANSWERED, Math.min(timing.MOST_UNANSWERED, count));
}

/** nextPingMs returns when the direct path in use is to be pinged. */
export function nextPingMs(state: LadderState, nowMs: number): number | undefined {
  const attempt = draftOf.inUse(state);
  if (attempt === undefined) return undefined;
  const { pingMs } = state;
  if (draftOf.missed(attempt, nowMs).length > 0)
    return pingMs + (silencePatienceMs(state, nowMs) > 0 ? timing.CALM_PING_MS : timing.DOUBT_PING_MS);
  const heardMs = Math.max(pingMs, attempt.heardMs ?? 0);
  const { FOLLOWING_SHARE, ACTIVE_PING_MS, IDLE_PING_MS } = timing;
  if (draftOf.talks(state, nowMs)) {
    if (state.controlling) return pingMs + ACTIVE_PING_MS;
    return Math.min(heardMs + ACTIVE_PING_MS * FOLLOWING_SHARE, pingMs + IDLE_PING_MS);
  }
  const lately = Math.max(draftOf.lastTalkMs(state), state.path.sinceMs);
  const interval = nowMs - lately < timing.QUIET_AFTER_MS ? IDLE_PING_MS : timing.QUIET_PING_MS;
  // One side's pings keep both sides' mappings; the other asks when they stop.
  return state.controlling ? pingMs + interval : heardMs + interval * FOLLOWING_SHARE;
}

/** turnPath pings the direct path in use when that is due, and leaves it when it is dead. */
export function turnPath(draft: Draft): void {
  const { state, nowMs, effects } = draft;
  const attempt = draftOf.inUse(state);
  if (attempt === undefined || state.path.kind !== "direct") return;
  const missed = draftOf.missed(attempt, nowMs).length;
  const patience = silencePatienceMs(state, nowMs);
  const silentMs = nowMs - Math.max(attempt.pongMs ?? 0, state.path.sinceMs);
  // The controlling side pings every second: it notices first, also where only its pings get through.
  const unpingedMs = nowMs - Math.max(attempt.heardMs ?? 0, state.path.sinceMs);
  const follows = !state.controlling && unpingedMs < timing.FOLLOWING_PATIENCE_MS;
  const enough = missed >= (patience > 0 ? timing.LEAST_UNANSWERED : needed(attempt));
  if (enough && silentMs >= patience && !follows) {
    lose(draft, `${missed} pings in a row were not answered`);
    return;
  }
  if ((nextPingMs(state, nowMs) ?? Number.POSITIVE_INFINITY) <= nowMs) {
    draftOf.ping(draft, attempt.endpoint);
    // What the device says decides how long to wait.
    if (missed > 0) effects.push({ kind: "look" });
  }
  const looksMs = state.path.looksMs.filter((ms) => ms > nowMs);
  if (looksMs.length < state.path.looksMs.length) {
    state.path = { ...state.path, looksMs };
    effects.push({ kind: "look" });
  }
  if (attempt.losses > 0 && nowMs - state.path.sinceMs >= timing.FORGIVE_MS)
    draftOf.change(draft, attempt.endpoint, ({ lostMs: _, lostWhy: __, ...one }) => ({ ...one, losses: 0 }));
  turnMtu(draft);
}

/** Padded pings of the path in use, and what they mean. */
function turnMtu(draft: Draft): void {
  const { state, nowMs } = draft;
  const attempt = draftOf.inUse(state);
  // Only when the path itself is proven; until then every answer would say the same.
  if (attempt?.pongMs === undefined) return;
  const { rttMs = 500, pongMs } = attempt;
  const transaction = state.nextTransaction;
  const active = draftOf.talks(state, nowMs);
  const [mtu, ask] = stepPathMtu(state.mtu, { kind: "due", nowMs, transaction, rttMs, pongMs, active });
  state.mtu = mtu;
  if (ask !== undefined) draftOf.ping(draft, attempt.endpoint, ask.sizeBytes);
  // A padded ping was lost: whether for its size, only a plain one can tell.
  else if (mtu.probe !== undefined && pongMs < mtu.probe.sentMs) draftOf.pingSoon(draft, attempt.endpoint);
  const relayed = state.relays[0]?.mtuBytes;
  if (isTooSmall(mtu) && relayed !== undefined && relayed >= leastMtu(mtu.family))
    lose(draft, `packets of ${leastMtu(mtu.family)} bytes do not get through`);
}
