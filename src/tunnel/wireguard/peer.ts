/**
 * A peer: `stepPeer(state, event, surroundings)` gives the next state and what is to be done. No socket, clock or timer is here; time
 * and chance come with the surroundings.
 *
 * ```
 *                    initiate (packets without a session, age, silence, retry)
 *            ┌────────────────────────────┐
 *            │                            ▼
 *   no session ──── initiation ──▶ next session ── first packet ──▶ current session
 *            ▲      (answered)                                      │      ▲
 *            │                    pending ── response ──────────────┼──────┘
 *            └───────────── 540 s after the last session ───────────┘
 * ```
 *
 * What is not authentic changes nothing at all, and is not answered: the state stays the same object.
 */
import { NO_KEYPAIRS } from "./keypair.ts";
import { PeerDraft } from "./peer-draft.ts";
import { answer, finish, initiate, taste } from "./peer-handshake.ts";
import { demote, move, release, stayAlone } from "./peer-identity.ts";
import type { PeerEffect, PeerEvent, PeerIdentity, PeerState, Surroundings } from "./peer-state.ts";
import { came, confirm, flush, gone, keepalive, take } from "./peer-traffic.ts";
import { NO_TIMERS } from "./timers.ts";

/** newPeer returns a peer of which nothing but its key is known. */
export function newPeer(identity: PeerIdentity): PeerState {
  return {
    identity,
    persistentMs: 0,
    timers: NO_TIMERS,
    keypairs: NO_KEYPAIRS,
    renewed: false,
    staged: [],
    traffic: new Float64Array(2),
  };
}

/** stepPeer returns the state after an event, and what is to be done, in order. */
export function stepPeer(
  state: PeerState,
  event: PeerEvent,
  around: Surroundings,
): readonly [PeerState, readonly PeerEffect[]] {
  const draft = new PeerDraft(state, around);
  switch (event.kind) {
    case "initiation":
      answer(draft, event);
      break;
    case "response":
      finishAndConfirm(draft, event);
      break;
    case "cookie":
      taste(draft, event);
      break;
    case "packets":
      take(draft, event);
      break;
    case "sent":
      gone(draft, event);
      break;
    case "received":
      came(draft, event);
      break;
    case "due":
      due(draft);
      break;
    case "set":
      set(draft, event);
      break;
    case "demoted":
      demote(draft, event);
      break;
    case "move":
      move(draft);
      break;
    case "anew":
      beginAnew(draft);
      break;
    case "alone":
      stayAlone(draft);
      break;
    case "identity":
    case "reset":
      if (event.kind === "reset") endAll(draft);
      else draft.retire(event);
      state.staticStatic?.reveal().fill(0);
      draft.set({
        staticStatic: event.staticStatic,
        former: undefined,
        moving: undefined,
        other: undefined,
        spokeMs: undefined,
        mac1: undefined,
      });
      break;
  }
  return [draft.state, draft.effects];
}

/**
 * Its agent wants another handshake, perhaps by another way (mesh/ladder-handshake.ts). The peer does not know yet, and sends under the session of
 * before by the way of before. Who looks at it sees no handshake, and counts that began at nothing and go on with what comes under those sessions. The
 * timestamps of both sides' initiations stay: none is taken twice.
 */
function beginAnew(draft: PeerDraft): void {
  const { identity, psk, timers } = draft.state;
  psk?.reveal().fill(0);
  draft.retire({ hold: false });
  const wipe = timers.wipe === undefined ? {} : { wipe: timers.wipe };
  draft.set({
    ...{
      psk: undefined,
      endpoint: undefined,
      spokeMs: undefined,
      mac1: undefined,
      lastHandshakeMs: undefined,
    },
    ...{ persistentMs: 0, renewed: false, traffic: new Float64Array(2), anew: true },
    timers: { ...NO_TIMERS, ...wipe },
  });
  draft.effects.push({ kind: "retired", peer: identity.number });
}

/** Of the former identity nothing stays either; what is needed of it is made again. */
function endAll(draft: PeerDraft): void {
  draft.forget();
  draft.state.formerStatic?.reveal().fill(0);
  draft.set({ formerStatic: undefined });
}

function finishAndConfirm(draft: PeerDraft, event: Extract<PeerEvent, { readonly kind: "response" }>): void {
  const session = finish(draft, event);
  if (session !== undefined) confirm(draft, session);
}

function due(draft: PeerDraft): void {
  for (const effect of draft.tell({ kind: "due" })) {
    switch (effect) {
      case "wipe":
        draft.forget();
        break;
      case "give up":
        draft.abandon();
        draft.set({ staged: [] });
        break;
      case "retry":
        initiate(draft, { retry: true });
        break;
      case "initiate":
        initiate(draft, { retry: false });
        break;
      case "release":
        release(draft);
        flush(draft);
        break;
      case "passive keepalive":
        keepalive(draft, { passive: true });
        break;
      case "persistent keepalive":
        keepalive(draft);
        break;
    }
  }
}

function set(draft: PeerDraft, event: Extract<PeerEvent, { readonly kind: "set" }>): void {
  const { persistentMs, psk } = draft.state;
  if (event.endpoint !== undefined) draft.set({ endpoint: event.endpoint });
  if (event.psk !== undefined) {
    psk?.reveal().fill(0);
    draft.set({ psk: event.psk === "none" ? undefined : event.psk });
  }
  if (event.persistentMs !== undefined) {
    draft.set({ persistentMs: event.persistentMs });
    // Who asks for it wants the peer to hear of us, not in a while but from now on (wg_set_device, netlink.c).
    if (event.persistentMs > 0 && persistentMs === 0) keepalive(draft);
  }
  flush(draft);
}
