/** What the protocols compute with. It is handed in, so that the cores stay pure and a test can count what an attacker makes us do. */
import {
  type Aead,
  aes256GcmOpen,
  aes256GcmSeal,
  blake2s,
  blake2sMac,
  chacha20Poly1305Open,
  chacha20Poly1305Seal,
  hmacBlake2s,
  randomBytes,
  X25519Key,
  xchacha20Poly1305Open,
  xchacha20Poly1305Seal,
} from "../sys/mod.ts";

/** Bytes are what primitives return: memory of ours, which can be wiped. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** DhKey is a Curve25519 private key that can be used and wiped, but not read. */
export interface DhKey extends Disposable {
  readonly publicKey: Bytes;
  /** The shared secret; undefined for a public key of low order. */
  agree(peer: Uint8Array): Bytes | undefined;
}

/** Primitives are named as in section 5.4 of the WireGuard whitepaper. */
export interface Primitives {
  /** Hash: BLAKE2s, 32 bytes, of the parts in order. */
  hash(...parts: readonly Uint8Array[]): Bytes;
  /** Mac: keyed BLAKE2s, 16 bytes. */
  mac(key: Uint8Array, data: Uint8Array): Bytes;
  /** Hmac: RFC 2104 with BLAKE2s, 32 bytes. */
  hmac(key: Uint8Array, data: Uint8Array): Bytes;
  /** Aead: ChaCha20-Poly1305. */
  seal(plaintext: Uint8Array, aead: Aead): Bytes;
  open(sealed: Uint8Array, aead: Aead): Bytes | undefined;
  /** AES-256-GCM, which Noise has as another Aead. */
  sealAes(plaintext: Uint8Array, aead: Aead): Bytes;
  openAes(sealed: Uint8Array, aead: Aead): Bytes | undefined;
  /** Xaead: XChaCha20-Poly1305. */
  sealLong(plaintext: Uint8Array, aead: Aead): Bytes;
  openLong(sealed: Uint8Array, aead: Aead): Bytes | undefined;
  /** The 32 bytes are copied: the caller wipes his. */
  privateKey(secret: Uint8Array): DhKey;
  random(length: number): Bytes;
}

/** systemPrimitives are libcrypto's and the system's generator. */
export const systemPrimitives: Primitives = {
  hash: blake2s,
  mac: blake2sMac,
  hmac: hmacBlake2s,
  seal: chacha20Poly1305Seal,
  open: chacha20Poly1305Open,
  sealAes: aes256GcmSeal,
  openAes: aes256GcmOpen,
  sealLong: xchacha20Poly1305Seal,
  openLong: xchacha20Poly1305Open,
  privateKey: (secret) => new X25519Key(secret),
  random: randomBytes,
};

/** newKey returns a fresh private key, of which no copy is left. */
export function newKey(primitives: Primitives): DhKey {
  const secret = primitives.random(32);
  const key = primitives.privateKey(secret);
  secret.fill(0);
  return key;
}
