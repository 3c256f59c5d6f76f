/**
 * Next hops as bytes: how long one may be in a family, and whether it is the address of a host.
 *
 * ```
 *  4   IPv4
 *  16  IPv6 (RFC 2545, 8950): global, or link-local alone
 *  32  IPv6: global, then link-local
 * ```
 */
import { EVPN, IPV4_UNICAST, IPV6_UNICAST, type BgpFamily } from "./family.ts";
import { allZero } from "./octets.ts";
import type { UpdateSession } from "./update-session.ts";

/** isNextHopLength tells whether MP_REACH_NLRI of a family may carry a next hop of that many octets. */
export function isNextHopLength(family: BgpFamily, length: number, session: UpdateSession): boolean {
  switch (family) {
    case IPV4_UNICAST:
      // RFC 8950 section 4: 16 or 32 octets, when both sides announced the capability.
      return length === 4 || ((length === 16 || length === 32) && session.extendedNextHop.has(family));
    case IPV6_UNICAST:
      // RFC 2545 section 3: "The value of the Length of Next Hop Network Address field [...] shall be set to 16, when only a global address
      // is present, or 32 if a link-local address is also included".
      return length === 16 || length === 32;
    case EVPN:
      // RFC 7432 section 9.2.1: the IPv4 or IPv6 address of the advertising PE.
      return length === 4 || length === 16 || length === 32;
    default:
      // RFC 4684 section 4: "The Next Hop field of MP_REACH_NLRI attribute shall be interpreted as an IPv4 address whenever the length of NextHop
      // address is 4 octets, and as a IPv6 address whenever the length of the NextHop address is 16 octets."
      return length === 4 || length === 16;
  }
}

/** isHostAddress4 tells whether four octets are the address of a host: not 0/8, 127/8, multicast, or beyond (RFC 4271 section 6.3). */
export function isHostAddress4(bytes: Uint8Array, at: number): boolean {
  const first = bytes[at] as number;
  return first !== 0 && first !== 127 && first < 224;
}

/** isHostAddress16 tells whether 16 octets are the address of a host: not ::, ::1, or multicast. */
export function isHostAddress16(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] === 0xff) return false;
  return !(allZero(bytes, at, 15) && (bytes[at + 15] as number) < 2);
}

/** isHostNextHop tells whether a next hop of 4, 16 or 32 octets begins with the address of a host. */
export function isHostNextHop(bytes: Uint8Array, at: number, length: number): boolean {
  return length === 4 ? isHostAddress4(bytes, at) : isHostAddress16(bytes, at);
}
