/** What both ends of vita-ske compute beside the handshake: the prologue that binds it to one pair of ends, and the keys that come of it. */
import { type Ip, ipBytes, KeyMaterial } from "../../net/mod.ts";
import { type Bytes, kdf, type Primitives, type SymmetricState } from "../../noise/mod.ts";
import { MATERIAL_BYTES } from "../agreed.ts";
import { AEAD_NAME, VERSION } from "./datagram.ts";

const PROLOGUE_BYTES = 104;
const ADDRESS_BYTES = 16;

/** prologueOf returns the 104 bytes that both ends must have alike: an IPv4 address stands in the first 4 of its 16 bytes. */
export function prologueOf(parts: {
  readonly routeSpi: number;
  readonly initiator: Ip;
  readonly responder: Ip;
  /** The responder's. */
  readonly nonce: Uint8Array;
}): Bytes {
  const bytes = new Uint8Array(new ArrayBuffer(PROLOGUE_BYTES));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, VERSION);
  view.setUint32(4, parts.routeSpi);
  bytes.set(ipBytes(parts.initiator), 8);
  bytes.set(ipBytes(parts.responder), 8 + ADDRESS_BYTES);
  bytes.set(AEAD_NAME, 8 + 2 * ADDRESS_BYTES);
  bytes.set(parts.nonce, 8 + 2 * ADDRESS_BYTES + AEAD_NAME.length);
  return bytes;
}

/** Ske5Keys are for the two directions of ESP. */
export interface Ske5Keys {
  readonly toInitiator: KeyMaterial;
  readonly toResponder: KeyMaterial;
}

/**
 * splitKeys ends a handshake. It is not the Split of Noise: HKDF (RFC 5869) with a salt of zeros and the chaining key as input gives 40 bytes,
 * of which the first 20 are for what the initiator receives.
 */
export function splitKeys(primitives: Primitives, symmetric: SymmetricState): Ske5Keys {
  return symmetric.end((chainingKey) => {
    const parts = kdf(primitives, new Uint8Array(32), { input: chainingKey, count: 2 });
    const output = new Uint8Array(64);
    for (const [index, part] of parts.entries()) {
      output.set(part, index * part.length);
      part.fill(0);
    }
    const length = MATERIAL_BYTES["aes-128-gcm"];
    const keys = {
      toInitiator: new KeyMaterial(output.subarray(0, length)),
      toResponder: new KeyMaterial(output.subarray(length, 2 * length)),
    };
    output.fill(0);
    return keys;
  });
}
