/** ChaCha20-Poly1305 (RFC 8439) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), one message at a time. By libcrypto. */
import type { Pointer } from "bun:ffi";
import { expectLength, expectShort, libcrypto, made, must } from "./libcrypto.ts";
import { stable } from "./memory.ts";

type Bytes = Uint8Array<ArrayBuffer>;

// openssl/evp.h
const EVP_CTRL_AEAD_GET_TAG = 0x10;
const EVP_CTRL_AEAD_SET_TAG = 0x11;

const KEY = 32;
const TAG = 16;
const NONCE = 12;
const LONG_NONCE = 24;
const BLOCK = 64;

/** Aead is what is needed beside the text. */
export interface Aead {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** 12 bytes; 24 for XChaCha20. */
  readonly nonce: Uint8Array;
  /** What is authenticated and not encrypted; default nothing. */
  readonly additional?: Uint8Array;
}

/** chacha20Poly1305Seal returns the ciphertext with its 16-byte tag. */
export function chacha20Poly1305Seal(plaintext: Uint8Array, aead: Aead): Bytes {
  const sealed = stable(plaintext.length + TAG);
  return withCipher((context) => {
    must(pass(context, plaintext, { ...aead, into: sealed, encrypt: 1 }), "EVP_CipherFinal_ex");
    const tag = stable(TAG);
    const { symbols } = libcrypto();
    must(symbols.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG, tag), "EVP_CIPHER_CTX_ctrl");
    sealed.set(tag, plaintext.length);
    return sealed;
  });
}

/** chacha20Poly1305Open returns the plaintext; undefined if the tag does not belong to all of this. */
export function chacha20Poly1305Open(sealed: Uint8Array, aead: Aead): Bytes | undefined {
  if (sealed.length < TAG) return undefined;
  const length = sealed.length - TAG;
  const plaintext = stable(length);
  const tag = sealed.slice(length);
  return withCipher((context) => {
    if (pass(context, sealed.subarray(0, length), { ...aead, into: plaintext, encrypt: 0, tag }) === 1)
      return plaintext;
    libcrypto().symbols.ERR_clear_error();
    plaintext.fill(0);
    return undefined;
  });
}

/** xchacha20Poly1305Seal returns the ciphertext with its 16-byte tag. */
export function xchacha20Poly1305Seal(plaintext: Uint8Array, aead: Aead): Bytes {
  const short = shortened(aead);
  const sealed = chacha20Poly1305Seal(plaintext, short);
  short.key.fill(0);
  return sealed;
}

/** xchacha20Poly1305Open returns the plaintext; undefined if the tag does not belong to all of this. */
export function xchacha20Poly1305Open(sealed: Uint8Array, aead: Aead): Bytes | undefined {
  const short = shortened(aead);
  const plaintext = chacha20Poly1305Open(sealed, short);
  short.key.fill(0);
  return plaintext;
}

function withCipher<T>(work: (context: Pointer) => T): T {
  const { symbols } = libcrypto();
  const context = made(symbols.EVP_CIPHER_CTX_new(), "EVP_CIPHER_CTX_new");
  try {
    return work(context);
  } finally {
    // The library wipes the key that is inside.
    symbols.EVP_CIPHER_CTX_free(context);
  }
}

type Pass = Aead & { readonly into: Bytes; readonly encrypt: 0 | 1; readonly tag?: Uint8Array };

/** Runs one text through the cipher; 1 when it is done and, decrypting, the tag is right. */
function pass(context: Pointer, text: Uint8Array, options: Pass): number {
  const { key, nonce, additional, into, encrypt, tag } = options;
  expectLength(key, KEY, "A key");
  expectLength(nonce, NONCE, "A nonce");
  expectShort(text);
  const { symbols, chacha20Poly1305 } = libcrypto();
  const written = stable(4);
  must(symbols.EVP_CipherInit_ex(context, chacha20Poly1305, null, key, nonce, encrypt), "EVP_CipherInit_ex");
  if (tag !== undefined) {
    expectLength(tag, TAG, "A tag");
    must(symbols.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG, tag), "EVP_CIPHER_CTX_ctrl");
  }
  if (additional !== undefined && additional.length > 0) {
    expectShort(additional);
    must(symbols.EVP_CipherUpdate(context, null, written, additional, additional.length), "EVP_CipherUpdate");
  }
  if (text.length > 0) {
    if (into.length < text.length) throw new RangeError("The result does not fit its buffer");
    must(symbols.EVP_CipherUpdate(context, into, written, text, text.length), "EVP_CipherUpdate");
  }
  // A stream cipher has nothing left to write here.
  return symbols.EVP_CipherFinal_ex(context, stable(BLOCK), written);
}

/**
 * The key and nonce of RFC 8439 that stand for those of XChaCha20 (section 2.3).
 *
 * HChaCha20 (section 2.2) is the ChaCha20 block function without its last step, the addition of the initial state. libcrypto
 * offers only the block function, so that step is taken back for the eight words that are wanted, whose initial state is
 * public: the constants (words 0 to 3) and the nonce (words 12 to 15).
 */
function shortened(aead: Aead): Aead {
  expectLength(aead.key, KEY, "A key");
  expectLength(aead.nonce, LONG_NONCE, "A nonce of XChaCha20");
  // The library's IV is the last four words of the state: its counter, then its nonce.
  const iv = aead.nonce.slice(0, 16);
  const block = keyStream(aead.key, iv);
  const initial = stable(32);
  initial.set(new TextEncoder().encode("expand 32-byte k"));
  initial.set(iv, 16);
  const [from, minus] = [new DataView(block.buffer), new DataView(initial.buffer)];
  const key = stable(KEY);
  const to = new DataView(key.buffer);
  for (let word = 0; word < 8; word++) {
    const sum = from.getUint32((word < 4 ? word : word + 8) * 4, true);
    to.setUint32(word * 4, sum - minus.getUint32(word * 4, true), true);
  }
  block.fill(0);
  const nonce = stable(NONCE);
  nonce.set(aead.nonce.subarray(16), 4);
  return { ...aead, key, nonce };
}

/** The first block of ChaCha20's key stream. */
function keyStream(key: Uint8Array, iv: Uint8Array): Bytes {
  const block = stable(BLOCK);
  return withCipher((context) => {
    const { symbols, chacha20 } = libcrypto();
    must(symbols.EVP_CipherInit_ex(context, chacha20, null, key, iv, 1), "EVP_CipherInit_ex");
    must(symbols.EVP_CipherUpdate(context, block, stable(4), stable(BLOCK), BLOCK), "EVP_CipherUpdate");
    return block;
  });
}
