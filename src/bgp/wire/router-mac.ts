/** The router's MAC community (RFC 9135 section 8.1) in place: whether an EVPN type 5 of the same UPDATE can be used depends on it. */

/** ROUTER_MAC says what is known of the community. */
export const ROUTER_MAC = { unknown: 0, none: 1, valid: 2, invalid: 3 } as const;

/** RouterMac is one of ROUTER_MAC. */
export type RouterMac = (typeof ROUTER_MAC)[keyof typeof ROUTER_MAC];

/** routerMacOf looks through extended communities, of which `at` is -1 when there are none. A multicast address is invalid, and so is zero. */
export function routerMacOf(bytes: Uint8Array, at: number, length: number): RouterMac {
  if (at < 0) return ROUTER_MAC.none;
  for (let i = at; i + 8 <= at + length; i += 8) {
    if (bytes[i] !== 0x06 || bytes[i + 1] !== 0x03) continue;
    if (((bytes[i + 2] as number) & 1) !== 0) return ROUTER_MAC.invalid;
    for (let n = i + 2; n < i + 8; n++) if (bytes[n] !== 0) return ROUTER_MAC.valid;
    return ROUTER_MAC.invalid;
  }
  return ROUTER_MAC.none;
}
