/**
 * Proof of possession: the newcomer shows that it holds the private key of the public key that it registers.
 *
 * ```
 * hub ── nonce ──▶ newcomer
 * newcomer ── request, HMAC(HKDF(DH(node key, hub key), "…proof"), nonce ‖ address ‖ request) ──▶ hub
 * ```
 * Only the holders of the node's key and of the hub's key can compute it. The nonce is the hub's, made per connection and used
 * once; the address is that of the token's use, so that a proof cannot be carried to another use.
 */
import { formatIp, type Ip, type PrivateKey, type PublicKey } from "../net/mod.ts";
import { canonicalJson, type Json } from "../resources/mod.ts";
import { equalBytes, hkdf, hmacSha256 } from "../sys/mod.ts";

/** NONCE_BYTES is the length of the hub's nonce. */
export const NONCE_BYTES = 32;

/** ProofInput is what the proof covers. */
export interface ProofInput {
  readonly nonce: Uint8Array;
  /** The newcomer's address in the tunnel. */
  readonly address: Ip;
  /** The request without its proof. */
  readonly request: Json;
}

/** proofOf computes the proof; `own` and `peer` are the node's and the hub's keys, either way round. */
export function proofOf(
  keys: { readonly own: PrivateKey; readonly peer: PublicKey },
  input: ProofInput,
): Uint8Array {
  const key = hkdf(keys.own.agree(keys.peer), "causeway enrol 1 proof", 32);
  const address = formatIp(input.address);
  return hmacSha256(key, "causeway enrol 1\n", input.nonce, `${address}\n`, canonicalJson(input.request));
}

/** proofHolds checks a proof; false also for a public key of low order, with which no secret can be shared. */
export function proofHolds(
  keys: { readonly own: PrivateKey; readonly peer: PublicKey },
  input: ProofInput,
  proof: Uint8Array,
): boolean {
  try {
    return equalBytes(proofOf(keys, input), proof);
  } catch {
    return false;
  }
}
