/**
 * The handshake Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (Noise specification revision 34, sections 7.5 and 9; whitepaper, section 5.4).
 *
 * ```
 *   <- s                                 the initiator knows the responder
 *   ...
 *   -> e, es, s, ss      + payload       WireGuard: a timestamp; gateways: what they offer
 *   <- e, ee, se, psk    + payload       WireGuard: nothing; gateways: what they take
 * ```
 *
 * The result is two keys, one for each direction. Functions take and return values; whoever holds a Sent or Heard owns its
 * secrets and disposes of it. What is forged gives undefined and changes nothing.
 */
import { type Bytes, type DhKey, newKey, type Primitives } from "./primitives.ts";
import { SymmetricState } from "./symmetric.ts";

/** IK_PSK2 names the Noise protocol. */
export const IK_PSK2: Uint8Array = new TextEncoder().encode("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s");

/** Party is one side of a handshake: who we are. */
export interface Party {
  readonly primitives: Primitives;
  readonly key: DhKey;
  /** What both sides must agree on beforehand (Noise, section 6). */
  readonly prologue: Uint8Array;
  /** Default: a fresh one. Only a test knows it before. */
  readonly ephemeral?: DhKey;
}

/** Sent is an initiator that waits for the answer. */
export interface Sent extends Disposable {
  readonly symmetric: SymmetricState;
  readonly ephemeral: DhKey;
}

/** Heard is a responder that knows who speaks. */
export interface Heard extends Disposable {
  readonly symmetric: SymmetricState;
  readonly remoteEphemeral: Uint8Array;
  /** Public key of the initiator. It holds this key only if the payload opens. */
  readonly remote: Bytes;
}

/** Keys are the outcome, seen from one side. Each is 32 bytes, to be wiped after the session. */
export interface Keys {
  readonly send: Bytes;
  readonly receive: Bytes;
}

function begin(party: Party, responder: Uint8Array): SymmetricState {
  const symmetric = SymmetricState.begin(party.primitives, { protocol: IK_PSK2, prologue: party.prologue });
  symmetric.mixHash(responder);
  return symmetric;
}

/** With a pre-shared key in the pattern an ephemeral key goes into the keys too (Noise, section 9.2). */
function mixEphemeral(symmetric: SymmetricState, publicKey: Uint8Array): void {
  symmetric.mixHash(publicKey);
  symmetric.mixKey(publicKey);
}

/** False, with nothing mixed, for a public key of low order. */
function mixShared(symmetric: SymmetricState, key: DhKey, peer: Uint8Array): boolean {
  const shared = key.agree(peer);
  if (shared === undefined) return false;
  symmetric.mixKey(shared);
  shared.fill(0);
  return true;
}

/** writeInitiation makes the first message; undefined if the responder's key is of low order. */
export function writeInitiation(
  party: Party,
  to: { readonly remote: Uint8Array; readonly staticStatic: Uint8Array; readonly payload: Uint8Array },
):
  | { readonly ephemeral: Bytes; readonly static: Bytes; readonly payload: Bytes; readonly sent: Sent }
  | undefined {
  const ephemeral = party.ephemeral ?? newKey(party.primitives);
  const symmetric = begin(party, to.remote);
  const sent: Sent = {
    symmetric,
    ephemeral,
    [Symbol.dispose]: () => {
      symmetric[Symbol.dispose]();
      ephemeral[Symbol.dispose]();
    },
  };
  mixEphemeral(symmetric, ephemeral.publicKey);
  if (!mixShared(symmetric, ephemeral, to.remote)) {
    sent[Symbol.dispose]();
    return undefined;
  }
  const sealedStatic = symmetric.seal(party.key.publicKey);
  symmetric.mixKey(to.staticStatic);
  const payload = symmetric.seal(to.payload);
  return { ephemeral: ephemeral.publicKey, static: sealedStatic, payload, sent };
}

/** readInitiation finds out who speaks. */
export function readInitiation(
  party: Party,
  message: { readonly ephemeral: Uint8Array; readonly static: Uint8Array },
): Heard | undefined {
  const symmetric = begin(party, party.key.publicKey);
  mixEphemeral(symmetric, message.ephemeral);
  const remote = mixShared(symmetric, party.key, message.ephemeral)
    ? symmetric.open(message.static)
    : undefined;
  if (remote !== undefined)
    return {
      symmetric,
      remote,
      remoteEphemeral: message.ephemeral,
      [Symbol.dispose]: () => symmetric[Symbol.dispose](),
    };
  symmetric[Symbol.dispose]();
  return undefined;
}

/** readPayload proves that the initiator is who it says, and returns its payload. */
export function readPayload(
  heard: Heard,
  options: { readonly payload: Uint8Array; readonly staticStatic: Uint8Array },
): Bytes | undefined {
  heard.symmetric.mixKey(options.staticStatic);
  return heard.symmetric.open(options.payload);
}

/** writeResponse makes the second message and ends the responder's part; undefined if a key of the initiator is of low order. */
export function writeResponse(
  party: Party,
  heard: Heard,
  options: { readonly psk: Uint8Array; readonly payload?: Uint8Array },
): { readonly ephemeral: Bytes; readonly payload: Bytes; readonly keys: Keys } | undefined {
  using _ = heard;
  using ephemeral = party.ephemeral ?? newKey(party.primitives);
  const { symmetric } = heard;
  mixEphemeral(symmetric, ephemeral.publicKey);
  if (!mixShared(symmetric, ephemeral, heard.remoteEphemeral)) return undefined;
  if (!mixShared(symmetric, ephemeral, heard.remote)) return undefined;
  symmetric.mixKeyAndHash(options.psk);
  const payload = symmetric.seal(options.payload ?? new Uint8Array(0));
  const [receive, send] = symmetric.split();
  return { ephemeral: ephemeral.publicKey, payload, keys: { send, receive } };
}

/** readResponse ends the initiator's part. After a forged one (undefined) the true one is still awaited. */
export function readResponse(
  party: Party,
  sent: Sent,
  message: { readonly ephemeral: Uint8Array; readonly payload: Uint8Array; readonly psk: Uint8Array },
): { readonly payload: Bytes; readonly keys: Keys } | undefined {
  using symmetric = sent.symmetric.copy();
  mixEphemeral(symmetric, message.ephemeral);
  if (!mixShared(symmetric, sent.ephemeral, message.ephemeral)) return undefined;
  if (!mixShared(symmetric, party.key, message.ephemeral)) return undefined;
  symmetric.mixKeyAndHash(message.psk);
  const payload = symmetric.open(message.payload);
  if (payload === undefined) return undefined;
  const [send, receive] = symmetric.split();
  sent[Symbol.dispose]();
  return { payload, keys: { send, receive } };
}
