/**
 * What the WireGuard whitepaper fixes ("WireGuard: Next Generation Kernel Network Tunnel", revision 4fe47e5 of 2020-06-01).
 * Changing anything here makes another protocol. Limits of our own choice are in limits.ts.
 */

import { MOST_SENT } from "./send-counter.ts";

const ascii = (text: string) => new TextEncoder().encode(text);

/** IDENTIFIER is the Noise prologue (section 5.4) of the construction Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (../../noise). */
export const IDENTIFIER: Uint8Array = ascii("WireGuard v1 zx2c4 Jason@zx2c4.com");
/** LABEL_MAC1 goes before a public key to make the key of the first MAC (section 5.4.4). */
export const LABEL_MAC1: Uint8Array = ascii("mac1----");
/** LABEL_COOKIE goes before a public key to make the key of cookie replies (section 5.4.7). */
export const LABEL_COOKIE: Uint8Array = ascii("cookie--");

/** KEY_BYTES is the length of public keys, private keys, pre-shared keys and session keys. */
export const KEY_BYTES = 32;
/** TAG_BYTES is how much longer a sealed text is. */
export const TAG_BYTES = 16;
/** PADDING_BYTES: the plaintext of a transport data message is a multiple of it (section 5.4.6). */
export const PADDING_BYTES = 16;
/** Timing is section 6.1, with what sections 6.2 to 6.5 derive from it. A test may shorten it, nothing else may. */
export interface Timing {
  /** Rekey-After-Time: an initiator that sends begins a new handshake. */
  readonly rekeyAfterMs: number;
  /** Reject-After-Time: a session neither sends nor receives any more. */
  readonly rejectAfterMs: number;
  /** Rekey-Attempt-Time: an unanswered handshake is given up, unless more data is to be sent. */
  readonly rekeyAttemptMs: number;
  /** Rekey-Timeout: an initiation is repeated, and not sooner. */
  readonly rekeyTimeoutMs: number;
  /** Up to so much is added at random to the time after which an initiation is repeated (section 6). */
  readonly jitterMs: number;
  /** Keepalive-Timeout: who received data and has nothing to send says at least that it is there (section 6.5). */
  readonly keepaliveMs: number;
  /** Rekey-After-Messages: a session that sent more begins a new handshake. */
  readonly rekeyAfterMessages: number;
  /** Reject-After-Messages: a session that sent so many sends no more. */
  readonly rejectAfterMessages: number;
}

/**
 * SPECIFIED is the whitepaper's timing.
 *
 * The limits of messages are lower than its 2^60 and 2^64 - 2^13 - 1, so that a counter of ours fits 31 bits (send-counter.ts). That is
 * allowed (they are the most, not the least), and at eight million packets a second a session is renewed for its age before.
 */
export const SPECIFIED: Timing = {
  rekeyAfterMs: 120_000,
  rejectAfterMs: 180_000,
  rekeyAttemptMs: 90_000,
  rekeyTimeoutMs: 5_000,
  jitterMs: 333,
  keepaliveMs: 10_000,
  rekeyAfterMessages: 2 ** 30,
  rejectAfterMessages: MOST_SENT,
};

/** MOST_RECEIVED: a peer's counters from here on are refused. The whitepaper has 2^64 - 2^13 - 1; this is where a JavaScript number is exact. */
export const MOST_RECEIVED: number = 2 ** 53 - 2 ** 13 - 1;
