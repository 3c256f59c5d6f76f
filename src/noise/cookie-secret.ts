/**
 * Cookies that only a responder can make, and for which it keeps nothing but one secret: whoever shows the cookie of an address receives
 * at that address (RFC 9147, section 5.1; WireGuard whitepaper, section 5.4.7).
 *
 * ```
 *   cookie = Mac(secret of two minutes, address || port || what else it is bound to)
 * ```
 */
import { type Endpoint, ipBytes } from "../net/mod.ts";
import type { Bytes, Primitives } from "./primitives.ts";

/** COOKIE_LIFE_MS is how long a cookie and the secret it is made with are good for (WireGuard whitepaper, section 5.4.7). */
export const COOKIE_LIFE_MS = 120_000;

const SECRET_BYTES = 32;

/** CookieSecret is what the responder's cookies are made with. */
export interface CookieSecret {
  readonly secret: Bytes;
  readonly bornMs: number;
}

/** currentSecret returns the secret that holds now: the one before, or after two minutes a new one. */
export function currentSecret(
  before: CookieSecret | undefined,
  options: { readonly primitives: Primitives; readonly nowMs: number },
): CookieSecret {
  if (before !== undefined && options.nowMs - before.bornMs < COOKIE_LIFE_MS) return before;
  before?.secret.fill(0);
  return { secret: options.primitives.random(SECRET_BYTES), bornMs: options.nowMs };
}

/** cookieOf returns the cookie of a sender, 16 bytes; `bound` is what it is good for, default anything. */
export function cookieOf(
  primitives: Primitives,
  options: { readonly secret: CookieSecret; readonly from: Endpoint; readonly bound?: Uint8Array },
): Bytes {
  const { secret, from, bound = new Uint8Array(0) } = options;
  const address = ipBytes(from.ip);
  const source = new Uint8Array(address.length + 2 + bound.length);
  source.set(address);
  new DataView(source.buffer).setUint16(address.length, from.port);
  source.set(bound, address.length + 2);
  return primitives.mac(secret.secret, source);
}
