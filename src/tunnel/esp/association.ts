/**
 * Security associations: what one direction of ESP is known by and protected with (RFC 4301, section 4.1), with AES-GCM (RFC 4106) or
 * ChaCha20-Poly1305 (RFC 7634).
 *
 * ```
 * key material (RFC 4106, section 8.1; RFC 7634, section 2):  | key 16 or 32 | salt 4 |      nonce of a packet: | salt 4 | IV 8 |
 * ```
 * Keys go to the AEAD provider, and nothing here can print them. What changes with the packets (sequence number, window) lies in memory that
 * the caller may give, so that a successor goes on with it: **an outbound association is never made again from the same key without that
 * memory**, since it would use up its nonces a second time. Settings that change how packets look (EspFraming) need no new association.
 */
import { AEAD_KEY_BYTES, type AeadAlgorithm, type AeadKey, type AeadProvider } from "../../sys/mod.ts";
import type { EspOpenSession, EspSealSession } from "./esp-framing.ts";
import { newSequenceWindow, type SequenceWindow } from "./replay.ts";
import { claimSequence, LAST_SEQUENCE, SEQUENCE_WORDS, sentPackets } from "./sequence.ts";

/** SALT_BYTES is the length of the part of the nonce that is as secret as the key. */
export const SALT_BYTES = 4;
/** LEAST_SPI: those below are reserved (RFC 4303, section 2.1). */
export const LEAST_SPI = 256;
/** DEFAULT_WINDOW is 8 times what Vita and 16 times what RFC 4303 has: a receiver with many queues needs it. */
export const DEFAULT_WINDOW = 1024;

/** EspAlgorithm is one of RFC 4106 or that of RFC 7634, with a tag of 16 bytes. */
export type EspAlgorithm = AeadAlgorithm;

/** AssociationOptions are what both ends have agreed on. */
export interface AssociationOptions {
  /** Chosen by the receiver. */
  readonly spi: number;
  readonly algorithm: EspAlgorithm;
  /** Key and salt; copied, and left to the caller to wipe. */
  readonly keyMaterial: Uint8Array;
  /** Extended sequence numbers of 64 bits; both ends must have the same. */
  readonly extended: boolean;
  /** From this moment on (PathTables.nowMs) it is not used any more; default never. */
  readonly endsMs?: number;
}

/** OutboundAssociation seals. */
export class OutboundAssociation implements EspSealSession, Disposable {
  /** The SPI, which the peer has chosen. */
  readonly remoteIndex: number;
  readonly endsMs: number;
  readonly salt: number;
  readonly extended: boolean;
  readonly sealKey: AeadKey;
  readonly #sequence: Int32Array;
  readonly #greatest: number;
  #last: number;

  /**
   * `sequence` is memory of SEQUENCE_WORDS, as it was left by whoever had the association before; several threads may share it. `last` is the
   * last number that may be used until `reserve` says otherwise; default the last there is.
   */
  constructor(
    provider: AeadProvider,
    options: AssociationOptions & { readonly sequence?: Int32Array; readonly last?: number },
  ) {
    const { key, salt } = parts(options);
    this.remoteIndex = checkSpi(options.spi);
    this.endsMs = options.endsMs ?? Number.POSITIVE_INFINITY;
    this.salt = salt;
    this.extended = options.extended;
    this.#greatest = LAST_SEQUENCE[options.extended ? "extended" : "plain"];
    this.#last = Math.min(options.last ?? this.#greatest, this.#greatest);
    this.#sequence = options.sequence ?? new Int32Array(SEQUENCE_WORDS);
    if (this.#sequence.length !== SEQUENCE_WORDS)
      throw new RangeError(
        `The memory of sequence numbers is ${SEQUENCE_WORDS} words, not ${this.#sequence.length}`,
      );
    this.sealKey = provider.key(options.algorithm, key, "seal");
  }

  claim(frames: number): number {
    return claimSequence(this.#sequence, frames, this.#last);
  }

  /** The last number that may be used. */
  get last(): number {
    return this.#last;
  }

  /** reserve allows numbers up to `last`, which were made durable before: never fewer than before. */
  reserve(last: number): void {
    this.#last = Math.max(this.#last, Math.min(last, this.#greatest));
  }

  /** How many sequence numbers were claimed: packets sent, with the few that were lost on the way. */
  get sent(): number {
    return sentPackets(this.#sequence);
  }

  [Symbol.dispose](): void {
    this.sealKey[Symbol.dispose]();
  }
}

/** InboundAssociation opens. It belongs to one thread: only one may move a window. */
export class InboundAssociation implements EspOpenSession, Disposable {
  /** Number of the peer: what it may send decides its allowed IPs. */
  readonly peer: number;
  readonly spi: number;
  readonly endsMs: number;
  readonly salt: number;
  readonly extended: boolean;
  readonly window: SequenceWindow;
  readonly openKey: AeadKey;

  /** `window` is one of `newSequenceWindow`, or in memory as it was left; default an empty one of DEFAULT_WINDOW. */
  constructor(
    provider: AeadProvider,
    options: AssociationOptions & { readonly peer: number; readonly window?: SequenceWindow },
  ) {
    const { key, salt } = parts(options);
    this.peer = options.peer;
    this.spi = checkSpi(options.spi);
    this.endsMs = options.endsMs ?? Number.POSITIVE_INFINITY;
    this.salt = salt;
    this.extended = options.extended;
    this.window = options.window ?? newSequenceWindow(DEFAULT_WINDOW);
    this.openKey = provider.key(options.algorithm, key, "open");
  }

  [Symbol.dispose](): void {
    this.openKey[Symbol.dispose]();
  }
}

/** Takes key material apart; the salt as the word that it is in a nonce. */
function parts({ algorithm, keyMaterial }: AssociationOptions): { readonly key: Uint8Array; salt: number } {
  const keyBytes = AEAD_KEY_BYTES[algorithm];
  if (keyMaterial.length !== keyBytes + SALT_BYTES)
    throw new RangeError(
      `Key material of ${algorithm} has ${keyBytes} + ${SALT_BYTES} bytes, not ${keyMaterial.length}`,
    );
  const { buffer, byteOffset } = keyMaterial;
  return {
    key: keyMaterial.subarray(0, keyBytes),
    salt: new DataView(buffer, byteOffset + keyBytes, SALT_BYTES).getUint32(0, true),
  };
}

function checkSpi(spi: number): number {
  if (!Number.isInteger(spi) || spi < LEAST_SPI || spi >= 2 ** 32)
    throw new RangeError(`SPI ${spi} is not ${LEAST_SPI} to 4294967295`);
  return spi;
}
