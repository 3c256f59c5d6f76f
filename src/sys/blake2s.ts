/** BLAKE2s (RFC 7693): digest, keyed code, and the code of RFC 2104 made with it. By libcrypto. */
import { expectLength, expectShort, libcrypto, made, must, parameters } from "./libcrypto.ts";
import { stable } from "./memory.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const DIGEST = 32;
/** The codes of WireGuard are half as long as the digest. */
const CODE = 16;
const LONGEST_KEY = 32;

/** blake2s returns the 32-byte digest of the parts, in order. */
export function blake2s(...parts: readonly Uint8Array[]): Bytes {
  const whole = stable(parts.reduce((sum, part) => sum + part.length, 0));
  expectShort(whole);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  const digest = stable(DIGEST);
  const { symbols, blake2s: algorithm } = libcrypto();
  must(symbols.EVP_Digest(whole, whole.length, digest, null, algorithm, null), "EVP_Digest");
  whole.fill(0);
  return digest;
}

/** blake2sMac returns the 16-byte code of the data under a key of 1 to 32 bytes. */
export function blake2sMac(key: Uint8Array, data: Uint8Array): Bytes {
  if (key.length < 1 || key.length > LONGEST_KEY)
    throw new RangeError(`A BLAKE2s key has 1 to ${LONGEST_KEY} bytes, not ${key.length}`);
  codeLength ??= parameters("size", CODE);
  return code(key, data, { algorithm: "blake2sMac", parameters: codeLength, length: CODE });
}

/** hmacBlake2s returns the 32-byte code of the data under a 32-byte key. */
export function hmacBlake2s(key: Uint8Array, data: Uint8Array): Bytes {
  expectLength(key, DIGEST, "A key");
  hashName ??= parameters("digest", "BLAKE2S-256");
  return code(key, data, { algorithm: "hmac", parameters: hashName, length: DIGEST });
}

let codeLength: Bytes | undefined;
let hashName: Bytes | undefined;

function code(
  key: Uint8Array,
  data: Uint8Array,
  how: { readonly algorithm: "blake2sMac" | "hmac"; readonly parameters: Bytes; readonly length: number },
): Bytes {
  expectShort(data);
  const { symbols, [how.algorithm]: algorithm } = libcrypto();
  const result = stable(how.length);
  const context = made(symbols.EVP_MAC_CTX_new(algorithm), "EVP_MAC_CTX_new");
  try {
    must(symbols.EVP_MAC_init(context, key, key.length, how.parameters), "EVP_MAC_init");
    if (data.length > 0) must(symbols.EVP_MAC_update(context, data, data.length), "EVP_MAC_update");
    must(symbols.EVP_MAC_final(context, result, stable(8), result.length), "EVP_MAC_final");
  } finally {
    // The library wipes the key that is inside.
    symbols.EVP_MAC_CTX_free(context);
  }
  return result;
}
