/**
 * Cookies (whitepaper, sections 5.3 and 5.4.7): under load, whoever wants an answer shows first that he receives at the address he
 * sends from.
 *
 * ```
 *   cookie  = Mac(secret of two minutes, address || port)
 *   reply   = receiver 4 | nonce 24 | Xaead(Hash("cookie--" || our public key), nonce, cookie, mac1 of the message)
 * ```
 *
 * The responder keeps nothing for it but its secret. The initiator keeps the cookie and puts it into mac2 of the next messages.
 */
import { COOKIE_LATENCY_MS } from "./limits.ts";
import { type CookieReply, encodeMessage } from "./message.ts";
import { type Bytes, COOKIE_LIFE_MS, type Primitives } from "../../noise/mod.ts";

/** Cookie is one that a responder gave us. */
export interface Cookie {
  readonly value: Bytes;
  readonly bornMs: number;
}

/** writeReply returns the message that brings a cookie to the sender of a message. */
export function writeReply(
  primitives: Primitives,
  options: {
    /** The sender's index, from its message. */
    readonly receiver: number;
    readonly mac1: Uint8Array;
    /** Ours, of macKeys. */
    readonly key: Uint8Array;
    readonly cookie: Uint8Array;
  },
): Bytes {
  const { receiver, mac1, key, cookie } = options;
  const nonce = primitives.random(24);
  const sealed = primitives.sealLong(cookie, { key, nonce, additional: mac1 });
  return encodeMessage({ kind: "cookie", receiver, nonce, cookie: sealed });
}

/** readReply returns the cookie; undefined if it is not an answer to the message with this mac1, by the holder of this key. */
export function readReply(
  primitives: Primitives,
  reply: CookieReply,
  options: { readonly mac1: Uint8Array; readonly key: Uint8Array },
): Bytes | undefined {
  return primitives.openLong(reply.cookie, {
    key: options.key,
    nonce: reply.nonce,
    additional: options.mac1,
  });
}

/** usableCookie returns the bytes for mac2 while the responder surely still knows them. */
export function usableCookie(cookie: Cookie | undefined, nowMs: number): Bytes | undefined {
  if (cookie === undefined || nowMs - cookie.bornMs >= COOKIE_LIFE_MS - COOKIE_LATENCY_MS) return undefined;
  return cookie.value;
}
