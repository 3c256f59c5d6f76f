/** AES-256-GCM (NIST SP 800-38D), provided by the runtime: for sealing small secrets that are kept or handed over. */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

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
