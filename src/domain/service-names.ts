/**
 * Names and addresses of what joins a domain with its neighbours: derived from VNIs, so that both ends find them without asking.
 *
 * | link | where | leads to |
 * |---|---|---|
 * | `cwp<vni>` | a domain's namespace | the peered domain of that VNI |
 * | `cwn<vni>` | a domain's namespace, and the node's own | each other: the leg of that domain's NAT gateway |
 * | `cwt<vni>` | a domain's namespace, and the node's own | each other: the leg of that domain's tunnels in user space |
 * | `cwx<vni>` | a domain's namespace | the node's own, by XFRM: the domain's tunnels by the kernel |
 *
 * A leg's addresses never leave the node. IPv4 ones are of 240.0.0.0/7 and, for tunnels, of 242.0.0.0/7 in class E, which Linux treats as unicast: no other range that
 * nobody uses holds two addresses for each of 2^24 VNIs. IPv6 ones are of a unique local range (RFC 4193) that spells the name.
 */
import {
  type Family,
  formatPrefix,
  type Ip,
  ip,
  type Mac,
  macFromBytes,
  parsePrefix,
  type Prefix,
} from "../net/mod.ts";
import { sha256 } from "../sys/mod.ts";

/** LEG_RANGES hold the addresses of all legs. */
export const LEG_RANGES = {
  4: parsePrefix("240.0.0.0/7"),
  6: parsePrefix("fd63:6175:7365:7761::/64"),
} as const;

/** TUNNEL_RANGES hold the addresses of all legs of tunnels. */
const TUNNEL_RANGES = {
  4: parsePrefix("242.0.0.0/7"),
  6: parsePrefix("fd63:6175:7365:7762::/64"),
} as const;

/** LegAddresses are the two ends of a leg: a /31 or a /127 (RFC 3021, RFC 6164). */
export interface LegAddresses {
  readonly inside: Ip;
  readonly outside: Ip;
}

/** legLink returns the name of both ends of a NAT gateway's leg. */
export function legLink(vni: number): string {
  return `cwn${vni}`;
}

/** isLeg tells whether a link's name is that of a leg, of a NAT gateway or of tunnels; names of pods' links are longer. */
export function isLeg(name: string): boolean {
  return /^cw[nt]\d{1,8}$/.test(name);
}

/** legAddresses returns the addresses of a leg. */
export function legAddresses(vni: number, family: Family): LegAddresses {
  return pairIn(LEG_RANGES[family], vni);
}

function pairIn({ family, value }: Prefix, vni: number): LegAddresses {
  const inside = value + 2n * BigInt(vni);
  return { inside: ip(family, inside), outside: ip(family, inside + 1n) };
}

/** tunnelLink returns the name of both ends of the leg of a domain's tunnels in user space. */
export function tunnelLink(vni: number): string {
  return `cwt${vni}`;
}

/** xfrmLink returns the name of the XFRM interface of a domain's tunnels by the kernel; its `if_id` is the VNI. */
export function xfrmLink(vni: number): string {
  return `cwx${vni}`;
}

/** tunnelAddresses returns the addresses of the leg of a domain's tunnels. */
export function tunnelAddresses(vni: number, family: Family): LegAddresses {
  return pairIn(TUNNEL_RANGES[family], vni);
}

/** tunnelMac returns the Ethernet address of one end of the leg of a domain's tunnels: locally administered. */
export function tunnelMac(vni: number, end: keyof LegAddresses): Mac {
  return macOf(`tunnel ${vni} ${end}`);
}

/** legMac returns the Ethernet address of one end of a leg: locally administered. */
export function legMac(vni: number, end: keyof LegAddresses): Mac {
  return macOf(`leg ${vni} ${end}`);
}

/** peeringLink returns the name of the link to a peered domain. */
export function peeringLink(vni: number): string {
  return `cwp${vni}`;
}

/** peeringMac returns the Ethernet address of a domain's end of a peering: locally administered. */
export function peeringMac(own: number, other: number): Mac {
  return macOf(`peering ${own} ${other}`);
}

function macOf(text: string): Mac {
  const bytes = sha256(text).slice(0, 6);
  bytes[0] = 0x02;
  return macFromBytes(bytes);
}

/** legRange writes the range of all legs for a rule. */
export function legRange(family: Family): string {
  return formatPrefix(LEG_RANGES[family]);
}
