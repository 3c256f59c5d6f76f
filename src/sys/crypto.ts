/**
 * Cryptographic operations, all of them provided by the runtime (BoringSSL behind `node:crypto`).
 * Keys are raw bytes here; src/net/key.ts gives them types that hide what is secret.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
  randomBytes as nodeRandomBytes,
  sign,
  timingSafeEqual,
  verify,
} from "node:crypto";

type Bytes = Uint8Array<ArrayBuffer>;

// DER headers before the 32 raw bytes (RFC 8410).
const X25519_PRIVATE = Buffer.from("302e020100300506032b656e04220420", "hex");
const X25519_PUBLIC = Buffer.from("302a300506032b656e032100", "hex");
const ED25519_PRIVATE = Buffer.from("302e020100300506032b657004220420", "hex");
const ED25519_PUBLIC = Buffer.from("302a300506032b6570032100", "hex");

function privateObject(header: Buffer, raw: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([header, raw]), format: "der", type: "pkcs8" });
}

function publicObject(header: Buffer, raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([header, raw]), format: "der", type: "spki" });
}

function rawPublic(secret: KeyObject): Bytes {
  return new Uint8Array(
    createPublicKey(secret as never)
      .export({ format: "der", type: "spki" })
      .subarray(12),
  );
}

/** randomBytes returns bytes from the system's generator. */
export function randomBytes(length: number): Bytes {
  return new Uint8Array(nodeRandomBytes(length));
}

/** x25519Public returns the 32-byte public key of a 32-byte private key (RFC 7748). */
export function x25519Public(secret: Uint8Array): Bytes {
  return rawPublic(privateObject(X25519_PRIVATE, secret));
}

/** x25519 returns the 32-byte shared secret; throws for a public key of low order. */
export function x25519(secret: Uint8Array, peer: Uint8Array): Bytes {
  return new Uint8Array(
    diffieHellman({
      privateKey: privateObject(X25519_PRIVATE, secret),
      publicKey: publicObject(X25519_PUBLIC, peer),
    }),
  );
}

/** ed25519Public returns the 32-byte public key of a 32-byte seed (RFC 8032). */
export function ed25519Public(seed: Uint8Array): Bytes {
  return rawPublic(privateObject(ED25519_PRIVATE, seed));
}

/** ed25519Signer returns what signs with a 32-byte seed: 64 bytes. The key is made ready once, which costs more than a signature. */
export function ed25519Signer(seed: Uint8Array): (message: Uint8Array) => Bytes {
  const key = privateObject(ED25519_PRIVATE, seed);
  return (message) => new Uint8Array(sign(null, message, key));
}

/** ed25519Verify tells whether the signature is the key's; false for malformed input. */
export function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  try {
    return verify(null, message, publicObject(ED25519_PUBLIC, publicKey), signature);
  } catch {
    return false;
  }
}

/** sha256 returns the 32-byte digest. */
export function sha256(...parts: (Uint8Array | string)[]): Bytes {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** hmacSha256 returns the 32-byte code over the parts, in order (RFC 2104). */
export function hmacSha256(key: Uint8Array, ...parts: (Uint8Array | string)[]): Bytes {
  const hmac = createHmac("sha256", key);
  for (const part of parts) hmac.update(part);
  return new Uint8Array(hmac.digest());
}

/** hkdf derives `length` bytes from a secret for one named purpose (RFC 5869, SHA-256, empty salt). */
export function hkdf(secret: Uint8Array, purpose: string, length: number): Bytes {
  return new Uint8Array(hkdfSync("sha256", secret, new Uint8Array(0), purpose, length));
}

/** seal encrypts with AES-256-GCM: 12 random bytes, what is encrypted, 16 bytes that prove it. The key is 32 bytes. */
export function seal(key: Uint8Array, plain: Uint8Array): Bytes {
  const nonce = nodeRandomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  return new Uint8Array(Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]));
}

/** unseal returns what `seal` encrypted; throws when key or bytes are others. */
export function unseal(key: Uint8Array, sealed: Uint8Array): Bytes {
  if (sealed.length < 28) throw new Error("the sealed bytes are too short");
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, 12));
  decipher.setAuthTag(sealed.subarray(-16));
  return new Uint8Array(Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]));
}

/** equalBytes compares in constant time; false for different lengths. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
