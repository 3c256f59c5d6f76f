/**
 * Handshakes of a peer (whitepaper, sections 5.4.2 to 5.4.5), in both roles.
 *
 * The role of initiator (`pending`) and that of responder do not disturb each other: a response is made at once, so a responder
 * waits for nothing but its session's first packet, which is the affair of keypair.ts.
 */
import { type Cookie, readReply, usableCookie } from "./cookie.ts";
import { aside, derived, offered } from "./keypair.ts";
import { MIN_INITIATION_MS } from "./limits.ts";
import { writeMacs } from "./mac.ts";
import { encodeMessage, type HandshakeMessage, MESSAGE_BYTES } from "./message.ts";
import { readResponse, writeInitiation, writeResponse } from "../../noise/mod.ts";
import { Secret } from "../../net/mod.ts";
import type { PeerDraft } from "./peer-draft.ts";
import type { PeerEvent } from "./peer-state.ts";
import { canSend, Session } from "./session.ts";
import { IDENTIFIER, KEY_BYTES } from "./specification.ts";
import { encodeMoment, isLater, nextMoment } from "./timestamp.ts";

const NO_MAC = new Uint8Array(16);
const NO_PSK = new Uint8Array(KEY_BYTES);

type EventOf<K extends PeerEvent["kind"]> = Extract<PeerEvent, { readonly kind: K }>;

/** initiate begins a handshake, unless one was begun or answered within Rekey-Timeout. `retry`: because the last had no answer. */
export function initiate(draft: PeerDraft, { retry }: { readonly retry: boolean }): void {
  const { around, state } = draft;
  const { identity, endpoint, spokeMs } = state;
  const { primitives, nowMs } = around;
  if (!retry) draft.tell({ kind: "wanted" });
  else tryOther(draft);
  const former = (draft.state.former === true) !== (draft.state.other === true);
  const { key, staticStatic } = ownSide(draft, former);
  if (endpoint === undefined || staticStatic === undefined || key === undefined) return;
  if (spokeMs !== undefined && nowMs - spokeMs < around.timing.rekeyTimeoutMs) {
    // Packets wait for a session whose confirmation may have been lost: look again, even if no more packets come.
    if (state.staged.length > 0 && state.timers.retransmit === undefined) draft.tell({ kind: "initiated" });
    return;
  }
  draft.abandon();
  const moment = nextMoment(around.wallMs, state.moment);
  const party = { primitives, key, prologue: IDENTIFIER };
  const to = { remote: identity.publicBytes, staticStatic, payload: encodeMoment(moment) };
  const written = writeInitiation(party, to);
  if (written === undefined) return;
  const { sent, payload: timestamp, ...parts } = written;
  const index = around.claimIndex(identity.number);
  draft.set({ pending: { sent, index, to: endpoint, former }, moment });
  speak(draft, { kind: "initiation", sender: index, ...parts, timestamp, mac1: NO_MAC, mac2: NO_MAC });
  draft.tell({ kind: "initiated" });
}

/** answer makes a session as responder and says so, unless the initiation is not newer than one before, or comes too soon after it. */
export function answer(draft: PeerDraft, event: EventOf<"initiation">): void {
  const { message, heard, timestamp, from, former } = event;
  using _ = heard;
  const { around, state } = draft;
  const { identity, greatest, heardMs } = state;
  const { primitives, nowMs } = around;
  const key = former ? around.formerKey : around.key;
  if (key === undefined) return;
  if (greatest !== undefined && !isLater(timestamp, greatest)) return;
  if (heardMs !== undefined && nowMs - heardMs < MIN_INITIATION_MS) return;
  const party = { primitives, key, prologue: IDENTIFIER };
  const written = writeResponse(party, heard, { psk: state.psk?.reveal() ?? NO_PSK });
  if (written === undefined) return;
  draft.set({ greatest: timestamp, heardMs: nowMs });
  // What is sent before the session is confirmed is under the one that there is: it goes the way that is known to carry that.
  const { current } = state.keypairs;
  const isUsed = current !== undefined && canSend(current, nowMs, around.timing);
  draft.heard(MESSAGE_BYTES.initiation, isUsed ? undefined : from);
  const { keys, ephemeral, payload: nothing } = written;
  const sender = around.claimIndex(identity.number);
  const receiver = message.sender;
  const session = new Session(around.memory.take(), {
    keys,
    peer: identity.number,
    localIndex: sender,
    remoteIndex: receiver,
    initiator: false,
    bornMs: nowMs,
    former,
    spokeTo: from,
  });
  const { keypairs } = draft.state;
  draft.adopt(former && keypairs.held === true ? aside(keypairs, session) : derived(keypairs, session));
  speak(draft, { kind: "response", sender, receiver, ephemeral, nothing, mac1: NO_MAC, mac2: NO_MAC }, from);
  draft.tell({ kind: "derived" });
  draft.tell({ kind: "received", data: false });
}

/** finish makes a session as initiator, and returns it: then something has to be sent under it, which confirms it to the responder. */
export function finish(draft: PeerDraft, { message, from }: EventOf<"response">): Session | undefined {
  const { around, state } = draft;
  const { identity, pending } = state;
  const { primitives, nowMs } = around;
  const former = pending?.former === true;
  const key = former ? around.formerKey : around.key;
  if (key === undefined || pending === undefined || pending.index !== message.receiver) return undefined;
  const parts = {
    ephemeral: message.ephemeral,
    payload: message.nothing,
    psk: state.psk?.reveal() ?? NO_PSK,
  };
  const read = readResponse({ primitives, key, prologue: IDENTIFIER }, pending.sent, parts);
  if (read === undefined) return undefined;
  const session = new Session(around.memory.take(), {
    keys: read.keys,
    peer: identity.number,
    localIndex: pending.index,
    remoteIndex: message.sender,
    initiator: true,
    bornMs: nowMs,
    former,
    spokeTo: pending.to,
  });
  draft.set({ pending: undefined });
  draft.heard(MESSAGE_BYTES.response, from);
  const { keypairs } = draft.state;
  const late = state.former === true && !former && keypairs.current !== undefined;
  draft.adopt(late ? offered(keypairs, session) : derived(keypairs, session));
  draft.tell({ kind: "derived" });
  completed(draft, session);
  draft.tell({ kind: "received", data: false });
  return session;
}

/** Who does not answer one identity of ours may know the other: each attempt is under the other one. */
function tryOther(draft: PeerDraft): void {
  const { state, around } = draft;
  if (around.formerKey === undefined || state.keypairs.current !== undefined) return;
  if (state.keypairs.held === true) return;
  draft.set({ other: state.other === true ? undefined : true });
}

/** Our half of a handshake under one of our identities. */
function ownSide(draft: PeerDraft, former: boolean) {
  const { state, around } = draft;
  if (!former) return { key: around.key, staticStatic: state.staticStatic?.reveal() };
  const key = around.formerKey;
  if (state.formerStatic === undefined && key !== undefined) {
    const shared = key.agree(state.identity.publicBytes);
    if (shared !== undefined) draft.set({ formerStatic: new Secret(shared) });
    shared?.fill(0);
  }
  return { key, staticStatic: draft.state.formerStatic?.reveal() };
}

/** completed notes that both sides have the session. */
export function completed(draft: PeerDraft, { former }: Session): void {
  draft.tell({ kind: "complete" });
  draft.set({ lastHandshakeMs: draft.around.wallMs, renewed: false, anew: undefined });
  if (!former) draft.set({ moving: undefined });
}

/** taste takes a cookie for the next messages; it is no reason to repeat the last one sooner (section 6.6). */
export function taste(draft: PeerDraft, { message }: EventOf<"cookie">): void {
  const { identity, mac1 } = draft.state;
  if (mac1 === undefined) return;
  const value = readReply(draft.around.primitives, message, { mac1, key: identity.macKeys.cookie });
  if (value === undefined) return;
  const cookie: Cookie = { value, bornMs: draft.around.nowMs };
  draft.set({ cookie, mac1: undefined });
}

/** Sends a handshake message with its two codes. */
function speak(draft: PeerDraft, message: HandshakeMessage, to = draft.state.endpoint): void {
  const { state, around } = draft;
  if (to === undefined) return;
  const { primitives, nowMs } = around;
  const datagram = encodeMessage(message);
  const cookie = usableCookie(state.cookie, nowMs);
  const mac1 = writeMacs(datagram, { primitives, receiver: state.identity.macKeys, cookie });
  draft.set({ mac1, spokeMs: nowMs });
  draft.effects.push({ kind: "send", to, datagram });
  draft.count(datagram.length);
  draft.tell({ kind: "sent", data: false });
}
