/**
 * Address families of BGP (RFC 4760): one number, AFI in the upper and SAFI in the lower half.
 *
 * The list is closed: what is not in it is never negotiated, and NLRI of it is never looked into.
 */

/** BgpFamily is `afi << 16 | safi`. */
export type BgpFamily = number;

/** IPV4_UNICAST is AFI 1, SAFI 1: also the family of the fields that RFC 4271 has for NLRI. */
export const IPV4_UNICAST = 0x0001_0001;
/** IPV6_UNICAST is AFI 2, SAFI 1. */
export const IPV6_UNICAST = 0x0002_0001;
/** ROUTE_TARGET is AFI 1, SAFI 132: route target membership (RFC 4684). */
export const ROUTE_TARGET = 0x0001_0084;
/** EVPN is AFI 25, SAFI 70 (RFC 7432). */
export const EVPN = 0x0019_0046;

/** FAMILIES are the families that this speaker knows. */
export const FAMILIES = [IPV4_UNICAST, IPV6_UNICAST, EVPN, ROUTE_TARGET] as const;

const names: ReadonlyMap<BgpFamily, string> = new Map([
  [IPV4_UNICAST, "ipv4-unicast"],
  [IPV6_UNICAST, "ipv6-unicast"],
  [EVPN, "l2vpn-evpn"],
  [ROUTE_TARGET, "route-target"],
]);

/** familyOf joins an AFI and a SAFI. */
export function familyOf(afi: number, safi: number): BgpFamily {
  return (afi << 16) | safi;
}

/** afiOf returns a family's AFI: 1 IPv4, 2 IPv6, 25 L2VPN. */
export function afiOf(family: BgpFamily): number {
  return family >>> 16;
}

/** safiOf returns a family's SAFI. */
export function safiOf(family: BgpFamily): number {
  return family & 0xff;
}

/** familyName returns `ipv4-unicast`, `l2vpn-evpn` and so on, or `afi-1-safi-128` for a family that is not known. */
export function familyName(family: BgpFamily): string {
  return names.get(family) ?? `afi-${afiOf(family)}-safi-${safiOf(family)}`;
}

/** familyFromName is the inverse of familyName for known families; undefined for any other text. */
export function familyFromName(name: string): BgpFamily | undefined {
  for (const [family, known] of names) if (known === name) return family;
  return undefined;
}
