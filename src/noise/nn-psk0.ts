/**
 * The handshake Noise_NNpsk0_25519_AESGCM_BLAKE2s (Noise specification revision 34, sections 7.4 and 9): who has the pre-shared key is the
 * peer.
 *
 * ```
 *   -> psk, e     + payload
 *   <- e, ee      + payload
 * ```
 *
 * The result is a symmetric state, which its protocol splits. Whoever holds one disposes of it. What is forged gives undefined and changes
 * nothing.
 */
import { type Bytes, type DhKey, newKey, type Primitives } from "./primitives.ts";
import { SymmetricState } from "./symmetric.ts";

/** NN_PSK0 names the Noise protocol. */
export const NN_PSK0: Uint8Array = new TextEncoder().encode("Noise_NNpsk0_25519_AESGCM_BLAKE2s");

/** NnParty is one side of a handshake. */
export interface NnParty {
  readonly primitives: Primitives;
  readonly prologue: Uint8Array;
  /** 32 bytes. */
  readonly psk: Uint8Array;
}

/** NnMessage is either message. */
export interface NnMessage {
  readonly ephemeral: Uint8Array;
  readonly payload: Uint8Array;
}

/** NnSent is an initiator that waits for the answer. */
export interface NnSent extends Disposable {
  readonly symmetric: SymmetricState;
  readonly ephemeral: DhKey;
}

/** NnHeard is a responder that has believed the first message. */
export interface NnHeard extends Disposable {
  readonly symmetric: SymmetricState;
  readonly remoteEphemeral: Uint8Array;
  readonly payload: Bytes;
}

/** NnFault is why a message was not believed: its tag, or a public key of low order. */
export type NnFault = "authentication" | "public key";

function begin({ primitives, prologue, psk }: NnParty): SymmetricState {
  const symmetric = SymmetricState.begin(primitives, { protocol: NN_PSK0, prologue, cipher: "AESGCM" });
  symmetric.mixKeyAndHash(psk);
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

/** writeFirst makes the initiator's message. */
export function writeFirst(
  party: NnParty,
  payload: Uint8Array,
): { readonly message: NnMessage; readonly sent: NnSent } {
  const ephemeral = newKey(party.primitives);
  const symmetric = begin(party);
  mixEphemeral(symmetric, ephemeral.publicKey);
  const sealed = symmetric.seal(payload);
  const sent: NnSent = {
    symmetric,
    ephemeral,
    [Symbol.dispose]: () => {
      symmetric[Symbol.dispose]();
      ephemeral[Symbol.dispose]();
    },
  };
  return { message: { ephemeral: ephemeral.publicKey, payload: sealed }, sent };
}

/** readFirst proves that the initiator has the key; undefined if it has not. */
export function readFirst(party: NnParty, message: NnMessage): NnHeard | undefined {
  const symmetric = begin(party);
  mixEphemeral(symmetric, message.ephemeral);
  const payload = symmetric.open(message.payload);
  if (payload !== undefined)
    return {
      symmetric,
      payload,
      remoteEphemeral: message.ephemeral,
      [Symbol.dispose]: () => symmetric[Symbol.dispose](),
    };
  symmetric[Symbol.dispose]();
  return undefined;
}

/** writeSecond makes the responder's message; undefined if the initiator's key is of low order. The caller ends `heard`, which goes on as the result. */
export function writeSecond(
  heard: NnHeard,
  options: { readonly ephemeral: DhKey; readonly payload: Uint8Array },
): NnMessage | undefined {
  const { symmetric } = heard;
  mixEphemeral(symmetric, options.ephemeral.publicKey);
  if (!mixShared(symmetric, options.ephemeral, heard.remoteEphemeral)) return undefined;
  return { ephemeral: options.ephemeral.publicKey, payload: symmetric.seal(options.payload) };
}

/** readSecond ends the initiator's part, unless the message is forged: then the true one is still awaited. */
export function readSecond(
  sent: NnSent,
  message: NnMessage,
): { readonly payload: Bytes; readonly symmetric: SymmetricState } | NnFault {
  const symmetric = sent.symmetric.copy();
  mixEphemeral(symmetric, message.ephemeral);
  const shared = mixShared(symmetric, sent.ephemeral, message.ephemeral);
  const payload = shared ? symmetric.open(message.payload) : undefined;
  if (payload !== undefined) {
    sent[Symbol.dispose]();
    return { payload, symmetric };
  }
  symmetric[Symbol.dispose]();
  return shared ? "authentication" : "public key";
}
