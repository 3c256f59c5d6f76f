/** X25519 (RFC 7748) with private keys that are wiped at a known moment. By libcrypto; `x25519` of crypto.ts leaves that to the garbage collector. */
import type { Pointer } from "bun:ffi";
import { expectLength, libcrypto, made, must, sizeOf } from "./libcrypto.ts";
import { stable } from "./memory.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** openssl/obj_mac.h */
const NID_X25519 = 1034;
const KEY = 32;

/** X25519Key is a private key inside libcrypto, with its public key. */
export class X25519Key implements Disposable {
  readonly publicKey: Bytes;
  #key: Pointer | undefined;

  /** The 32 bytes are copied: the caller wipes his. */
  constructor(secret: Uint8Array) {
    expectLength(secret, KEY, "A private key");
    const { symbols } = libcrypto();
    this.#key = made(symbols.EVP_PKEY_new_raw_private_key(NID_X25519, null, secret, KEY), "EVP_PKEY_new");
    this.publicKey = stable(KEY);
    must(symbols.EVP_PKEY_get_raw_public_key(this.#key, this.publicKey, sizeOf(KEY)), "EVP_PKEY_get");
  }

  /** agree returns the 32-byte secret shared with the holder of a public key; undefined for a key of low order. */
  agree(peer: Uint8Array): Bytes | undefined {
    expectLength(peer, KEY, "A public key");
    if (this.#key === undefined) throw new Error("X25519 key is disposed");
    const { symbols } = libcrypto();
    const shared = stable(KEY);
    const other = made(symbols.EVP_PKEY_new_raw_public_key(NID_X25519, null, peer, KEY), "EVP_PKEY_new");
    const context = made(symbols.EVP_PKEY_CTX_new(this.#key, null), "EVP_PKEY_CTX_new");
    try {
      must(symbols.EVP_PKEY_derive_init(context), "EVP_PKEY_derive_init");
      must(symbols.EVP_PKEY_derive_set_peer(context, other), "EVP_PKEY_derive_set_peer");
      if (symbols.EVP_PKEY_derive(context, shared, sizeOf(KEY)) === 1) return shared;
      symbols.ERR_clear_error();
      return undefined;
    } finally {
      symbols.EVP_PKEY_CTX_free(context);
      symbols.EVP_PKEY_free(other);
    }
  }

  /** Wipes the private key; a second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#key === undefined) return;
    libcrypto().symbols.EVP_PKEY_free(this.#key);
    this.#key = undefined;
  }
}
