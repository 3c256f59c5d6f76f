/**
 * A peer while the device is two: its present identity, and the former one that peers may still know it by.
 *
 * ```
 *            demoted                move                        heard under the present identity
 *  present ─────────▶ former ─────────────────▶ being moved ──────────────────────────────▶ present
 *                       ▲        packets wait        │
 *                       └────────────────────────────┘ nothing heard for HOLD_MS: what was goes on, and nothing is lost
 * ```
 * While it is moved, packets wait until the peer says something under the present identity: only then it believes what comes under that (its
 * agent moves our addresses there, src/mesh/twin.ts). The peer may also begin by itself: under whichever identity it speaks, it is spoken to.
 */
import { resumed } from "./keypair.ts";
import type { PeerDraft } from "./peer-draft.ts";
import { initiate } from "./peer-handshake.ts";
import type { PeerEvent } from "./peer-state.ts";
import { canSend } from "./session.ts";

type EventOf<K extends PeerEvent["kind"]> = Extract<PeerEvent, { readonly kind: K }>;

/** demote goes on with all there is, under what is the former identity from now on. */
export function demote(draft: PeerDraft, { staticStatic }: EventOf<"demoted">): void {
  const { pending, formerStatic, staticStatic: before } = draft.state;
  formerStatic?.reveal().fill(0);
  draft.demoteSessions();
  draft.set({
    staticStatic,
    formerStatic: before,
    former: true,
    moving: undefined,
    other: undefined,
    ...(pending === undefined ? {} : { pending: { ...pending, former: true } }),
  });
}

/** move begins with the peer under the present identity. What is on its way under the former one arrives. */
export function move(draft: PeerDraft): void {
  const { state, around } = draft;
  if (state.former !== true || state.keypairs.held === true) return;
  const { current } = state.keypairs;
  const hold = current !== undefined && canSend(current, around.nowMs, around.timing);
  draft.set({ former: undefined, moving: true, other: undefined, spokeMs: undefined, mac1: undefined });
  draft.retire({ hold });
  draft.effects.push({ kind: "retired", peer: state.identity.number });
  if (hold) draft.tell({ kind: "held" });
  initiate(draft, { retry: false });
}

/** stayAlone ends all under the former identity but receiving, for the device has one identity only again. */
export function stayAlone(draft: PeerDraft): void {
  const { former, formerStatic, identity } = draft.state;
  formerStatic?.reveal().fill(0);
  draft.set({ formerStatic: undefined, former: undefined, moving: undefined, other: undefined });
  if (former !== true) return;
  draft.retire({ hold: false });
  draft.set({ former: undefined, other: undefined, spokeMs: undefined, mac1: undefined });
  draft.effects.push({ kind: "retired", peer: identity.number });
}

/** release lets packets go that waited: under the former identity if there is one, because the peer did not take up the present one in time. */
export function release(draft: PeerDraft): void {
  const { nowMs, timing, formerKey } = draft.around;
  const { keypairs, identity } = draft.state;
  const step =
    formerKey === undefined ? undefined : resumed(keypairs, (session) => canSend(session, nowMs, timing));
  if (step === undefined) return draft.release();
  draft.adopt(step);
  draft.effects.push({ kind: "retired", peer: identity.number });
}
