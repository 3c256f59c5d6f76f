/**
 * The two codes at the end of an initiation and of a response (whitepaper, section 5.4.4).
 *
 * ```
 *   message .................... | mac1 16 | mac2 16
 *   mac1 = Mac(Hash("mac1----" || receiver's public key), all before it)    the sender knows whom it speaks to
 *   mac2 = Mac(cookie, all before it), or zeros without a cookie            the sender receives at its address
 * ```
 */
import { equalBytes } from "../../sys/mod.ts";
import { LABEL_COOKIE, LABEL_MAC1 } from "./specification.ts";
import type { Bytes, Primitives } from "../../noise/mod.ts";

const MAC = 16;

/** MacKeys belong to the holder of a public key. They are no secrets. */
export interface MacKeys {
  /** Of mac1 in messages for him. */
  readonly mac1: Bytes;
  /** Of the cookies that he sends. */
  readonly cookie: Bytes;
}

/** macKeys returns the keys that belong to a public key. */
export function macKeys(primitives: Primitives, publicKey: Uint8Array): MacKeys {
  return { mac1: primitives.hash(LABEL_MAC1, publicKey), cookie: primitives.hash(LABEL_COOKIE, publicKey) };
}

/** writeMacs fills both codes in place, and returns the first: a cookie reply is bound to it. */
export function writeMacs(
  message: Uint8Array,
  options: {
    readonly primitives: Primitives;
    readonly receiver: MacKeys;
    readonly cookie?: Uint8Array | undefined;
  },
): Bytes {
  const { primitives, receiver, cookie } = options;
  const [at1, at2] = [message.length - 2 * MAC, message.length - MAC];
  const mac1 = primitives.mac(receiver.mac1, message.subarray(0, at1));
  message.set(mac1, at1);
  if (cookie !== undefined) message.set(primitives.mac(cookie, message.subarray(0, at2)), at2);
  return mac1;
}

/** hasMac1 tells whether the sender knows our public key. */
export function hasMac1(
  message: Uint8Array,
  options: { readonly primitives: Primitives; readonly own: MacKeys },
): boolean {
  const at = message.length - 2 * MAC;
  return equalBytes(
    options.primitives.mac(options.own.mac1, message.subarray(0, at)),
    message.subarray(at, at + MAC),
  );
}

/** hasMac2 tells whether the sender has the cookie of its address. */
export function hasMac2(
  message: Uint8Array,
  options: { readonly primitives: Primitives; readonly cookie: Uint8Array },
): boolean {
  const at = message.length - MAC;
  return equalBytes(options.primitives.mac(options.cookie, message.subarray(0, at)), message.subarray(at));
}
