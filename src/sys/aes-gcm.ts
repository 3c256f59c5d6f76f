/** AES-256-GCM (NIST SP 800-38D), provided by the runtime: for sealing small secrets that are kept or handed over, and for handshakes. */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { Aead } from "./chacha.ts";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** aesGcmSeal encrypts under a 32-byte key, with a random nonce before the ciphertext and the tag behind it. At most 2^32 messages under one key. */
export function aesGcmSeal(
  key: Uint8Array,
  plain: Uint8Array,
  associated: Uint8Array | string,
): Uint8Array<ArrayBuffer> {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(Buffer.from(associated as string));
  return new Uint8Array(Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]));
}

/** aesGcmOpen undoes aesGcmSeal; undefined when key, text or associated data do not fit. */
export function aesGcmOpen(
  key: Uint8Array,
  sealed: Uint8Array,
  associated: Uint8Array | string,
): Uint8Array<ArrayBuffer> | undefined {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined;
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE_BYTES));
  decipher.setAAD(Buffer.from(associated as string));
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  try {
    const body = sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES);
    return new Uint8Array(Buffer.concat([decipher.update(body), decipher.final()]));
  } catch {
    return undefined;
  }
}

/** aes256GcmSeal returns the ciphertext with its 16-byte tag, under a nonce of 12 bytes that the caller never uses again with this key. */
export function aes256GcmSeal(plaintext: Uint8Array, aead: Aead): Uint8Array<ArrayBuffer> {
  const cipher = createCipheriv("aes-256-gcm", aead.key, aead.nonce);
  cipher.setAAD(aead.additional ?? new Uint8Array(0));
  return new Uint8Array(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]));
}

/** aes256GcmOpen returns the plaintext; undefined if the tag does not belong to all of this. */
export function aes256GcmOpen(sealed: Uint8Array, aead: Aead): Uint8Array<ArrayBuffer> | undefined {
  if (sealed.length < TAG_BYTES) return undefined;
  const decipher = createDecipheriv("aes-256-gcm", aead.key, aead.nonce);
  decipher.setAAD(aead.additional ?? new Uint8Array(0));
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  try {
    const body = sealed.subarray(0, sealed.length - TAG_BYTES);
    return new Uint8Array(Buffer.concat([decipher.update(body), decipher.final()]));
  } catch {
    return undefined;
  }
}
