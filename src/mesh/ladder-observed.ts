/** What the device says: who talks, whether handshakes came, and where WireGuard went by itself. */
import { type Endpoint, endpointEqual } from "../net/mod.ts";
import * as draftOf from "./ladder-draft.ts";
import type { Draft } from "./ladder-draft.ts";
import { endHandshake, followHandshake, remakeSession, renewHandshake } from "./ladder-handshake.ts";
import { moveTo, toDirect } from "./ladder-path.ts";
import { addReflexive, agreedLately } from "./ladder-probes.ts";
import { beginRound } from "./ladder-rounds.ts";
import type { LadderEvent, LadderState, Traffic } from "./ladder-state.ts";
import * as timing from "./ladder-timing.ts";

type Observed = Extract<LadderEvent, { readonly kind: "observed" }>;

/** One keepalive is 32 bytes; a handshake that was repeated once, with a keepalive, is less than this. */
const KEEPALIVE_BYTES = 32;
const HANDSHAKE_BYTES = 400;
/** Two readings of the device. */
const LATELY_MS = 2_500;

/** Lengths of a handshake's messages. All others are multiples of 16, but for packets of the full size where the MTU is none. */
const INITIATION_BYTES = 148;
const RESPONSE_BYTES = 92;

/** onObserved takes one reading of the device. */
export function onObserved(draft: Draft, event: Observed): void {
  const { state, nowMs } = draft;
  const talked = draftOf.talks(state, nowMs);
  const probed = draftOf.probes(state, nowMs);
  const before = state.traffic;
  const shaken = before.handshakeMs;
  state.traffic = reading(draft, event);
  const { handshakeMs } = state.traffic;
  if (handshakeMs !== undefined && handshakeMs !== shaken) followHandshake(draft, handshakeMs);
  if (handshakeMs === undefined && shaken !== undefined) remakeSession(draft, shaken);
  if (event.endpoint !== undefined) followEndpoint(draft, event.endpoint);
  if (!probed && draftOf.probes(state, nowMs)) beginRound(draft, 0, { invite: true });
  else if (!talked && draftOf.talks(state, nowMs) && state.round.kind === "resting" && state.round.number > 1)
    beginRound(draft, 1, { invite: state.controlling });
  doubt(draft);
}

function reading({ state, nowMs }: Draft, event: Observed): Traffic {
  const { rxBytes, txBytes, handshakeAgeMs, endpoint } = event;
  const { traffic } = state;
  // A lower count: the peer was made anew.
  const anew = rxBytes < (traffic.rxBytes ?? 0) || txBytes < (traffic.txBytes ?? 0);
  const based = traffic.rxBytes !== undefined && traffic.txBytes !== undefined && !anew;
  const rx = anew ? rxBytes : based ? rxBytes - (traffic.rxBytes as number) : 0;
  const tx = anew ? txBytes : based ? txBytes - (traffic.txBytes as number) : 0;
  const handshakeMs = handshakeAgeMs === undefined ? undefined : nowMs - handshakeAgeMs;
  const shook =
    handshakeMs !== undefined &&
    (traffic.handshakeMs === undefined || handshakeMs > traffic.handshakeMs + timing.CLOCKS_MS);
  const waits = state.handshake !== undefined;
  // Both ends may be made anew, one after the other: two handshakes, of which the second is not told apart by its time.
  const lately = handshakeMs !== undefined && nowMs - handshakeMs < LATELY_MS;
  const least = shook || lately || waits || anew ? HANDSHAKE_BYTES : KEEPALIVE_BYTES;
  const heardMs = unshaken(rx, INITIATION_BYTES, RESPONSE_BYTES) > least ? nowMs : traffic.heardMs;
  // Who begins handshakes has something to say.
  const saidMs = unshaken(tx, RESPONSE_BYTES) > least ? nowMs : traffic.saidMs;
  const rxMs = rx > 0 ? nowMs : traffic.rxMs;
  const unheardMs = rx > 0 ? undefined : (traffic.unheardMs ?? (tx > least ? nowMs : undefined));
  const session = handshakeMs !== undefined && nowMs - handshakeMs < timing.SESSION_MS;
  const wantedMs = session ? undefined : (traffic.wantedMs ?? (tx > 0 ? nowMs : undefined));
  const kept = shook || traffic.handshakeMs === undefined ? handshakeMs : traffic.handshakeMs;
  return {
    rxBytes,
    txBytes,
    atMs: nowMs,
    ...(kept === undefined || handshakeMs === undefined ? {} : { handshakeMs: kept }),
    ...(rxMs === undefined ? {} : { rxMs }),
    ...(heardMs === undefined ? {} : { heardMs }),
    ...(saidMs === undefined ? {} : { saidMs }),
    ...(unheardMs === undefined ? {} : { unheardMs }),
    ...(wantedMs === undefined ? {} : { wantedMs }),
    ...(endpoint === undefined ? {} : { endpoint }),
  };
}

/**
 * What was counted, less one message of a handshake. Who only answers one does not talk; but that there was one WireGuard says later, when the
 * first packet came under it.
 */
function unshaken(bytes: number, ...messages: readonly number[]): number {
  return bytes - (messages.find((length) => bytes >= length && bytes % 16 === length % 16) ?? 0);
}

function followEndpoint(draft: Draft, endpoint: Endpoint): void {
  const { state } = draft;
  const relay = draftOf.relayAt(state, endpoint);
  if (state.path.kind === "direct") {
    if (relay === undefined) roam(draft, endpoint);
    else ledBack(draft);
    return;
  }
  if (relay !== undefined) {
    if (state.path.kind === "relay" && state.path.relay.hub === relay.hub) return;
    const lingering = draftOf.lingersAt(state);
    if (lingering !== undefined && endpointEqual(lingering, endpoint) && !draftOf.isUsable(state, relay))
      return;
    // The peer came through another hub: it knows why. One that is down here was where we were.
    if (!draftOf.isUsable(state, relay) || isNotSetYet(state, endpoint)) draft.effects.push({ kind: "use" });
    else {
      // It relays for the session that there is: none is to be made for the hub that we leave.
      if (state.handshake?.attempts === 0) endHandshake(draft);
      moveTo(draft, relay, { handshake: false });
    }
    return;
  }
  if (state.path.kind === "relay") strayed(draft, endpoint);
}

/** The device is where the peer was before the pair moved: it was read before it was set. Only what came since could have led it back. */
function isNotSetYet({ path, handshake, traffic }: LadderState, endpoint: Endpoint): boolean {
  if (path.kind !== "relay" || path.left === undefined || !endpointEqual(path.left, endpoint)) return false;
  // A peer that was made anew goes on hearing by there what is sent under the sessions of before; the other side's handshake would have ended ours.
  return (handshake?.attempts ?? 0) > 0 || (traffic.rxMs ?? Number.NEGATIVE_INFINITY) <= path.sinceMs;
}

/** WireGuard follows its peer: its packets came from there and were authentic. Nothing is to undo that; whether it works both ways, pings tell. */
function roam(draft: Draft, endpoint: Endpoint): void {
  const { state } = draft;
  if (state.path.kind !== "direct" || endpointEqual(state.path.endpoint, endpoint)) return;
  if (draftOf.attemptAt(state, endpoint) === undefined && !addReflexive(draft, endpoint)) return;
  toDirect(draft, endpoint, { roamed: true });
}

/** On a direct path, and WireGuard follows packets through a relay: late ones, or the peer left. Only pings know. */
function ledBack(draft: Draft): void {
  const { state, nowMs, effects } = draft;
  if (state.path.kind !== "direct") return;
  const relay = state.traffic.endpoint && draftOf.relayAt(state, state.traffic.endpoint);
  if (!draftOf.probes(state, nowMs) && relay) moveTo(draft, relay, { handshake: false });
  else if (agreedLately(state, nowMs)) effects.push({ kind: "use" });
  else draftOf.pingSoon(draft, state.path.endpoint);
}

/** On a relay, and WireGuard follows packets that came directly. */
function strayed(draft: Draft, endpoint: Endpoint): void {
  const { state, nowMs, effects } = draft;
  const known = draftOf.attemptAt(state, endpoint);
  const lost = known !== undefined && draftOf.settledMs(known) > nowMs;
  // It was just found dead: what came was late. And what is not to be direct, is not.
  if (!draftOf.probes(state, nowMs) || lost) {
    effects.push({ kind: "use" });
    return;
  }
  if (known === undefined && !addReflexive(draft, endpoint)) return;
  toDirect(draft, endpoint, { roamed: true });
}

/** What we say is not heard: ask at once. What cannot be said: help WireGuard. */
function doubt(draft: Draft): void {
  const { state, nowMs } = draft;
  const { unheardMs, heardMs, wantedMs } = state.traffic;
  if (state.path.kind === "direct" && unheardMs !== undefined) draftOf.pingSoon(draft, state.path.endpoint);
  if (wantedMs !== undefined) {
    renewHandshake(draft, state.controlling ? timing.SESSIONLESS_MS : timing.SESSIONLESS_CONTROLLED_MS);
    return;
  }
  if (state.path.kind === "none" || unheardMs === undefined) return;
  // A conversation that became one-sided: the relay, or the peer, lost the session. What was one-sided all the time says nothing.
  const patience = state.controlling ? timing.UNHEARD_MS : timing.UNHEARD_CONTROLLED_MS;
  const conversed = heardMs !== undefined && unheardMs - heardMs < timing.TALK_MS;
  if (conversed && nowMs - unheardMs >= patience) renewHandshake(draft, 0);
}
