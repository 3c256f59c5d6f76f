/**
 * libcrypto by FFI, for what the runtime's `node:crypto` does not offer. Loaded at first use.
 *
 * FFI checks no lengths: whoever calls one of these symbols checks them before, and hands over nothing whose address is kept.
 */
import { dlopen, FFIType, type Pointer, ptr } from "bun:ffi";
import { findLibrary } from "./library.ts";
import { cString, stable } from "./memory.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const { i32, ptr: p, u64_fast } = FFIType;

/** The name of the library's interface; Debian's package is libssl3. */
const LIBRARY = "libcrypto.so.3";

// Types of parameters: openssl/core.h.
const OSSL_PARAM_UNSIGNED_INTEGER = 2;
const OSSL_PARAM_UTF8_STRING = 4;

/** Far more than any message of ours; a length above it is a bug of the caller. */
const MOST_BYTES = 1 << 20;

function open() {
  findLibrary(LIBRARY);
  return dlopen(LIBRARY, {
    EVP_MD_fetch: { args: [p, p, p], returns: p },
    EVP_Digest: { args: [p, u64_fast, p, p, p, p], returns: i32 },
    EVP_MAC_fetch: { args: [p, p, p], returns: p },
    EVP_MAC_CTX_new: { args: [p], returns: p },
    EVP_MAC_CTX_free: { args: [p], returns: FFIType.void },
    EVP_MAC_init: { args: [p, p, u64_fast, p], returns: i32 },
    EVP_MAC_update: { args: [p, p, u64_fast], returns: i32 },
    EVP_MAC_final: { args: [p, p, p, u64_fast], returns: i32 },
    EVP_CIPHER_fetch: { args: [p, p, p], returns: p },
    EVP_CIPHER_CTX_new: { args: [], returns: p },
    EVP_CIPHER_CTX_free: { args: [p], returns: FFIType.void },
    EVP_CIPHER_CTX_ctrl: { args: [p, i32, i32, p], returns: i32 },
    EVP_CipherInit_ex: { args: [p, p, p, p, p, i32], returns: i32 },
    EVP_CipherUpdate: { args: [p, p, p, p, i32], returns: i32 },
    EVP_CipherFinal_ex: { args: [p, p, p], returns: i32 },
    EVP_PKEY_new_raw_private_key: { args: [i32, p, p, u64_fast], returns: p },
    EVP_PKEY_new_raw_public_key: { args: [i32, p, p, u64_fast], returns: p },
    EVP_PKEY_get_raw_public_key: { args: [p, p, p], returns: i32 },
    EVP_PKEY_free: { args: [p], returns: FFIType.void },
    EVP_PKEY_CTX_new: { args: [p, p], returns: p },
    EVP_PKEY_CTX_free: { args: [p], returns: FFIType.void },
    EVP_PKEY_derive_init: { args: [p], returns: i32 },
    EVP_PKEY_derive_set_peer: { args: [p, p], returns: i32 },
    EVP_PKEY_derive: { args: [p, p, p], returns: i32 },
    ERR_clear_error: { args: [], returns: FFIType.void },
  }).symbols;
}

function load() {
  let symbols: ReturnType<typeof open>;
  try {
    symbols = open();
  } catch (cause) {
    throw new Error(`Cannot load ${LIBRARY}; install it, on Debian: apt-get install libssl3`, { cause });
  }
  const fetch = (kind: "MD" | "MAC" | "CIPHER", name: string): Pointer => {
    const found: unknown = symbols[`EVP_${kind}_fetch`](null, cString(name), null);
    if (found === null)
      throw new Error(`Cannot use ${LIBRARY}: it has no ${name}; install the distribution's own build`);
    return found as Pointer;
  };
  return {
    symbols,
    blake2s: fetch("MD", "BLAKE2S-256"),
    blake2sMac: fetch("MAC", "BLAKE2SMAC"),
    hmac: fetch("MAC", "HMAC"),
    chacha20: fetch("CIPHER", "ChaCha20"),
    chacha20Poly1305: fetch("CIPHER", "ChaCha20-Poly1305"),
  };
}

let loaded: ReturnType<typeof load> | undefined;

/** libcrypto returns the library's functions and algorithms; throws when it is not installed. */
export function libcrypto(): ReturnType<typeof load> {
  loaded ??= load();
  return loaded;
}

/** libcryptoProblem says why the library cannot be used, with what brings it; undefined when it can. */
export function libcryptoProblem(): string | undefined {
  try {
    libcrypto();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What parameters point at stays for ever: there are as many as calls of this function in the source. */
const kept: Bytes[] = [];

/** parameters returns OSSL_PARAM[2] (openssl/core.h) with one value: a 64-bit number or text. */
export function parameters(name: string, value: number | string): Bytes {
  const text = typeof value === "string";
  const data = text ? cString(value) : sizeOf(value);
  const [key, array] = [cString(name), stable(80)];
  kept.push(key, data);
  const view = new DataView(array.buffer);
  view.setBigUint64(0, BigInt(ptr(key)), true);
  view.setUint32(8, text ? OSSL_PARAM_UTF8_STRING : OSSL_PARAM_UNSIGNED_INTEGER, true);
  view.setBigUint64(16, BigInt(ptr(data)), true);
  view.setUint32(24, text ? data.length - 1 : data.length, true);
  return array;
}

/** sizeOf returns a `size_t` in memory. */
export function sizeOf(length: number): Bytes {
  const size = stable(8);
  new DataView(size.buffer).setUint32(0, length, true);
  return size;
}

/** expectLength throws for bytes that are not as long as the call reads. */
export function expectLength(bytes: Uint8Array, length: number, what: string): void {
  if (bytes.length !== length) throw new RangeError(`${what} has ${length} bytes, not ${bytes.length}`);
}

/** expectShort throws for more bytes than one call is meant for. */
export function expectShort(bytes: Uint8Array): void {
  if (bytes.length > MOST_BYTES) throw new RangeError(`${bytes.length} bytes are more than ${MOST_BYTES}`);
}

/** must throws for a result that says no where only a lack of memory can make it. */
export function must(result: number, call: string): void {
  if (result !== 1)
    throw new Error(`Cannot compute: ${call} of ${LIBRARY} failed; the system may be out of memory`);
}

/** made returns the object that a call made. */
export function made(object: unknown, call: string): Pointer {
  if (object === null) must(0, call);
  return object as Pointer;
}
