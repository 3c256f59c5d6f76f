/** Packets of a peer: those that wait for a session, those that go, and what follows from those that came (whitepaper, section 6). */
import { type Keypairs, received } from "./keypair.ts";
import { MAX_STAGED_BYTES, MAX_STAGED_PACKETS } from "./limits.ts";
import type { PeerDraft } from "./peer-draft.ts";
import { completed, initiate } from "./peer-handshake.ts";
import type { PeerEvent } from "./peer-state.ts";
import { canSend, type Session, wantsRenewal, wantsRenewalNow } from "./session.ts";
import { dataBytes } from "./transport.ts";

const KEEPALIVE = new Uint8Array(0);

type EventOf<K extends PeerEvent["kind"]> = Extract<PeerEvent, { readonly kind: K }>;

/** take lets packets go, now or when there is a session. */
export function take(draft: PeerDraft, { packets }: EventOf<"packets">): void {
  // Without an endpoint no handshake will ever begin by itself.
  if (draft.state.endpoint === undefined) return;
  draft.set({ staged: bounded([...draft.state.staged, ...packets]) });
  flush(draft);
}

/** keepalive lets what waits go, or an empty packet. */
export function keepalive(draft: PeerDraft, options: { readonly passive?: boolean } = {}): void {
  if (draft.state.staged.length === 0) draft.set({ staged: [KEEPALIVE] });
  flush(draft, options);
}

/** confirm shows the responder that we have the session too: with what waits, or with an empty packet where that is to wait longer. */
export function confirm(draft: PeerDraft, session: Session): void {
  const { keypairs, endpoint: to } = draft.state;
  const { held, current } = keypairs;
  if ((held !== true && current === session) || to === undefined) return keepalive(draft);
  draft.effects.push({ kind: "transmit", to, session, packets: [KEEPALIVE] });
  gone(draft, { kind: "sent", session, data: false, bytes: dataBytes(0, draft.around.mtuBytes) });
  if (held === true) draft.tell({ kind: "held" });
}

/** flush lets go what waits, or begins a handshake for it. */
export function flush(draft: PeerDraft, options: { readonly passive?: boolean } = {}): void {
  const { state, around } = draft;
  const { keypairs, staged, endpoint } = state;
  const session = keypairs.current;
  if (staged.length === 0 || endpoint === undefined) return;
  if (keypairs.held === true && session !== undefined) return;
  if (session === undefined || !canSend(session, around.nowMs, around.timing)) {
    initiate(draft, { retry: false });
    return;
  }
  const most = Math.max(0, around.timing.rejectAfterMessages - Atomics.load(session.sendCounter, 0));
  const packets = staged.slice(0, most);
  draft.set({ staged: staged.slice(most) });
  draft.effects.push({ kind: "transmit", to: endpoint, session, packets });
  const bytes = packets.reduce((sum, packet) => sum + dataBytes(packet.length, around.mtuBytes), 0);
  const data = packets.some((packet) => packet.length > 0);
  gone(draft, { kind: "sent", session, data, bytes }, options);
  if (staged.length > most) initiate(draft, { retry: false });
}

/** gone notes packets that were sent, and renews the session if it is time. */
export function gone(
  draft: PeerDraft,
  { session, data, bytes }: EventOf<"sent">,
  options: { readonly passive?: boolean } = {},
): void {
  draft.count(bytes);
  draft.tell({ kind: "sent", data, ...options });
  if (wantsRenewal(session, draft.around.nowMs, draft.around.timing)) initiate(draft, { retry: false });
}

/** came notes packets that were received. The first under a session that waited for it completes the handshake. */
export function came(draft: PeerDraft, { session, data, bytes, from }: EventOf<"received">): void {
  const { around } = draft;
  const before = draft.state.keypairs;
  const { held } = before;
  const step = received(before, { session, nowMs: around.nowMs, yields: yields(draft) });
  draft.heard(bytes, isElsewhere(draft, session, step.keypairs) ? undefined : from);
  draft.adopt(step);
  if (step.confirmed) {
    draft.abandon();
    completed(draft, session);
  }
  draft.tell({ kind: "received", data });
  if (step.confirmed || (held === true && draft.state.keypairs.held !== true)) flush(draft);
  const { keypairs, renewed } = draft.state;
  // Sessions of a former identity of ours, and of a peer that was made anew, receive and do not send: the peer has to hear of the next handshake.
  if (keypairs.current === undefined) initiate(draft, { retry: false });
  if (renewed || keypairs.current === undefined) return;
  if (!wantsRenewalNow(keypairs.current, around.nowMs, around.timing)) return;
  draft.set({ renewed: true });
  initiate(draft, { retry: false });
}

/**
 * Whether where a session's packets come from is not where to send to: each may come by a relay of its own, which knows that one alone. That is over soon.
 * Who sends under the one before for longer has not heard of the present one, and may be at a place that it alone tells.
 */
function isElsewhere(
  { state, around }: PeerDraft,
  session: Session,
  { crossing, current }: Keypairs,
): boolean {
  if (current === undefined) return state.anew === true;
  if (session === current || (crossing === undefined && session.bornMs >= current.bornMs)) return false;
  return around.nowMs - Math.max(session.bornMs, current.bornMs) < around.timing.rekeyTimeoutMs;
}

/** Whether our public key is the smaller one, byte by byte. */
function yields({ state, around }: PeerDraft): boolean {
  const key = state.former === true ? around.formerKey : around.key;
  return key !== undefined && Buffer.compare(key.publicKey, state.identity.publicBytes) < 0;
}

/** The newest packets that may wait. */
function bounded(packets: readonly Uint8Array[]): readonly Uint8Array[] {
  let bytes = 0;
  let first = packets.length;
  while (first > 0 && packets.length - first < MAX_STAGED_PACKETS) {
    bytes += (packets[first - 1] as Uint8Array).length;
    if (bytes > MAX_STAGED_BYTES) break;
    first--;
  }
  return first === 0 ? packets : packets.slice(first);
}
