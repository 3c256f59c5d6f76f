/**
 * OpenSSL's libcrypto (libssl3) as an AEAD provider: four or five calls for each text, on every processor that Debian runs on.
 *
 * Keys lie in the library's own memory, which wipes them when their context is freed.
 */
import type { Pointer } from "bun:ffi";
import {
  AEAD_TAG,
  type AeadAlgorithm,
  type AeadBatch,
  type AeadDirection,
  type AeadKey,
  type AeadProvider,
  checkBatch,
  checkKey,
} from "./aead-batch.ts";
import type { Arena } from "./arena.ts";
import { libcrypto, made, must } from "./libcrypto.ts";
import { cString } from "./memory.ts";

// include/openssl/evp.h
const EVP_CTRL_AEAD_GET_TAG = 0x10;
const EVP_CTRL_AEAD_SET_TAG = 0x11;
const KEEP_DIRECTION = -1;

const NAMES: Readonly<Record<AeadAlgorithm, string>> = {
  "chacha20-poly1305": "ChaCha20-Poly1305",
  "aes-128-gcm": "AES-128-GCM",
  "aes-256-gcm": "AES-256-GCM",
};

const NONCE = 12;

/** openLibcrypto opens the provider; throws when the library is not there. */
export function openLibcrypto(arena: Arena): AeadProvider {
  const { symbols } = libcrypto();
  const ciphers = new Map(
    Object.entries(NAMES).map(([algorithm, name]) => {
      const cipher: unknown = symbols.EVP_CIPHER_fetch(null, cString(name), null);
      if (cipher === null) throw new Error(`libcrypto has no ${name}`);
      return [algorithm, cipher as Pointer];
    }),
  );
  // Where the calls write how much they wrote, and what a final block would be.
  const scratch = arena.allocate(64);
  return {
    name: "libcrypto 3",
    key(algorithm, bytes, direction) {
      checkKey(algorithm, bytes);
      return new LibcryptoKey({
        algorithm,
        direction,
        bytes,
        arena,
        scratch,
        cipher: ciphers.get(algorithm) as Pointer,
      });
    },
  };
}

interface KeyOptions {
  readonly algorithm: AeadAlgorithm;
  readonly direction: AeadDirection;
  readonly bytes: Uint8Array;
  readonly arena: Arena;
  readonly scratch: number;
  readonly cipher: Pointer;
}

class LibcryptoKey implements AeadKey {
  readonly algorithm: AeadAlgorithm;
  readonly direction: AeadDirection;
  readonly #arena: Arena;
  readonly #scratch: number;
  readonly #symbols = libcrypto().symbols;
  #context: Pointer | undefined;

  constructor(options: KeyOptions) {
    this.algorithm = options.algorithm;
    this.direction = options.direction;
    this.#arena = options.arena;
    this.#scratch = options.scratch;
    this.#context = made(this.#symbols.EVP_CIPHER_CTX_new(), "EVP_CIPHER_CTX_new");
    const encrypt = options.direction === "seal" ? 1 : 0;
    must(
      this.#symbols.EVP_CipherInit_ex(this.#context, options.cipher, null, options.bytes, null, encrypt),
      "EVP_CipherInit_ex",
    );
  }

  run(batch: AeadBatch): void {
    const context = this.#context;
    if (context === undefined) throw new Error(`A key to ${this.direction} was used after it was wiped`);
    checkBatch(this, this.#arena, batch);
    for (let i = 0; i < batch.count; i++) this.#one(context, batch, i);
  }

  #one(context: Pointer, batch: AeadBatch, index: number): void {
    const crypto = this.#symbols;
    const arena = this.#arena;
    const length = batch.lengthOf(index);
    const at = batch.textAt(index);
    const text = arena.address(at, length);
    const tag = arena.address(at + length, AEAD_TAG);
    const written = arena.address(this.#scratch, 4);
    const open = this.direction === "open";
    const nonce = arena.address(batch.nonceAt(index), NONCE);
    // Only the nonce is new: the key stays prepared.
    must(crypto.EVP_CipherInit_ex(context, null, null, null, nonce, KEEP_DIRECTION), "EVP_CipherInit_ex");
    if (open) must(crypto.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG, tag), "SET_TAG");
    const { additionalBytes } = batch;
    if (additionalBytes > 0) {
      const additional = arena.address(batch.additionalAt(index), additionalBytes);
      must(crypto.EVP_CipherUpdate(context, null, written, additional, additionalBytes), "EVP_CipherUpdate");
    }
    // A null input would end the text.
    if (length > 0) must(crypto.EVP_CipherUpdate(context, text, written, text, length), "EVP_CipherUpdate");
    const end = crypto.EVP_CipherFinal_ex(context, arena.address(this.#scratch + 16, 32), written);
    if (open) {
      batch.verdicts[index] = end === 1 ? 1 : 0;
      if (end !== 1) crypto.ERR_clear_error();
    } else {
      must(end, "EVP_CipherFinal_ex");
      must(crypto.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG, tag), "GET_TAG");
    }
  }

  [Symbol.dispose](): void {
    if (this.#context !== undefined) this.#symbols.EVP_CIPHER_CTX_free(this.#context);
    this.#context = undefined;
  }
}
