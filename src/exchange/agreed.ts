/**
 * What an exchange agrees on: ESP associations (../tunnel/esp) with key material that nothing can print.
 *
 * ```
 * key material:  | key 16 or 32 | salt 4 |      RFC 4106 (AES-GCM), RFC 7634 (ChaCha20-Poly1305)
 * ```
 */
import type { KeyMaterial } from "../net/mod.ts";
import type { AssociationOptions, EspAlgorithm } from "../tunnel/esp/mod.ts";

/** SaAlgorithm protects packets; all have a tag of 16 bytes. */
export type SaAlgorithm = EspAlgorithm;

/** MATERIAL_BYTES is the length of key and salt. */
export const MATERIAL_BYTES: Readonly<Record<SaAlgorithm, number>> = {
  "aes-128-gcm": 20,
  "aes-256-gcm": 36,
  "chacha20-poly1305": 36,
};

/** AgreedSa is one direction of a queue; AssociationOptions of it need `keyMaterial.reveal()`. */
export interface AgreedSa extends Omit<AssociationOptions, "algorithm" | "keyMaterial" | "endsMs"> {
  /** Of this side, from 1. */
  readonly queue: number;
  readonly algorithm: SaAlgorithm;
  readonly keyMaterial: KeyMaterial;
}

/** AgreedPair is the outcome of one exchange: what comes in and what goes out. */
export interface AgreedPair {
  readonly inbound: readonly AgreedSa[];
  readonly outbound: readonly AgreedSa[];
}

/** Spis gives out the SPIs of what comes in to us. */
export interface Spis {
  /** take returns the first of `count` SPIs in a row that nothing else has; undefined when there are none. `count` is a power of 2. */
  take(count: number): number | undefined;
  release(first: number, count: number): void;
}
