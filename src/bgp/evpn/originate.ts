/** EVPN routes of our own (RFC 7432 section 7, RFC 8365, RFC 9135, RFC 9136), as NLRI and attributes: what FRR announces for the same thing. */
import type { Ip, Mac, Prefix } from "../../net/mod.ts";
import {
  type Administered,
  encodeExtendedCommunity,
  type EvpnNlri,
  parseAdministered,
  type ExtendedCommunity,
  ND_FLAG,
  type Nlri,
  type PathAttributes,
  TUNNEL,
  ZERO_ESI,
} from "../wire/mod.ts";
import type { LocalPrefix } from "./local.ts";

/** EvpnSegment is one L2VNI of a VTEP. */
export interface EvpnSegment {
  readonly vni: number;
  readonly vtep: Ip;
  readonly rd: Administered;
  readonly exportTargets: readonly Administered[];
  /** The L3VNI in which its addresses are routed (symmetric IRB, RFC 9135). */
  readonly routed?: EvpnRouting;
}

/** EvpnRouting is one L3VNI of a VTEP. */
export interface EvpnRouting {
  readonly vni: number;
  readonly vtep: Ip;
  readonly rd: Administered;
  readonly exportTargets: readonly Administered[];
  readonly routerMac: Mac;
}

/** LocalMac is an address that is here. */
export interface LocalMac {
  readonly mac: Mac;
  readonly ip?: Ip;
  /** RFC 7432 section 15.2: it does not move. */
  readonly sticky?: boolean;
  /** RFC 7432 section 10.1. */
  readonly defaultGateway?: boolean;
  /** RFC 9047: the neighbor is a router. */
  readonly router?: boolean;
  /** Numbers of 32 bits that say what it belongs to, as colors (RFC 9012 section 4.3), which routers on the way do not look at. */
  readonly colors?: readonly number[];
}

/** Originated is a route to be announced. */
export interface Originated {
  readonly nlri: EvpnNlri;
  readonly attributes: PathAttributes;
}

const targets = (list: readonly Administered[]): ExtendedCommunity[] =>
  list.map((target) => ({ kind: "route-target", target }));

function attributes(
  vtep: Ip,
  communities: readonly ExtendedCommunity[],
): Pick<PathAttributes, "origin" | "asPath" | "nextHop" | "extendedCommunities"> {
  const encapsulation = { kind: "encapsulation", tunnel: TUNNEL.vxlan } as const;
  return {
    origin: "igp",
    asPath: [],
    nextHop: { address: vtep },
    extendedCommunities: [encapsulation, ...communities],
  };
}

/** inclusiveMulticast is type 3: where broadcast of a segment is sent, by ingress replication (RFC 8365 section 5.1.3). */
export function inclusiveMulticast({ vni, vtep, rd, exportTargets }: EvpnSegment): Originated {
  return {
    nlri: { kind: "inclusive-multicast", rd, tag: 0, originator: vtep },
    attributes: {
      ...attributes(vtep, targets(exportTargets)),
      pmsiTunnel: { kind: "ingress-replication", flags: 0, label: vni, endpoint: vtep },
    },
  };
}

/**
 * macIp is type 2: a MAC, alone or with an address. With an address in a routed segment it has both labels, both kinds of route targets and the
 * router's MAC (RFC 9135 section 5). A sequence of 0 is left out (RFC 7432 section 15).
 */
export function macIp(segment: EvpnSegment, local: LocalMac, sequence: number): Originated {
  const { vni, vtep, rd, exportTargets, routed } = segment;
  const { mac, ip, sticky, defaultGateway, router, colors = [] } = local;
  // A link-local address is not routed.
  const layer3 = ip !== undefined && !isLinkLocal(ip) ? routed : undefined;
  const communities: ExtendedCommunity[] = targets(exportTargets);
  if (layer3 !== undefined)
    communities.push(...targets(layer3.exportTargets), { kind: "router-mac", mac: layer3.routerMac });
  if (sticky === true || sequence > 0)
    communities.push({ kind: "mac-mobility", sticky: sticky === true, sequence });
  if (defaultGateway === true) communities.push({ kind: "default-gateway" });
  if (router === true && ip?.family === 6) communities.push({ kind: "nd-flags", flags: ND_FLAG.router });
  for (const color of colors) communities.push({ kind: "color", flags: 0, color });
  return {
    nlri: {
      kind: "mac-ip",
      rd,
      tag: 0,
      mac,
      ...(ip === undefined ? {} : { ip }),
      esi: ZERO_ESI,
      labels: layer3 === undefined ? [vni] : [vni, layer3.vni],
    },
    attributes: attributes(vtep, communities),
  };
}

/** ipPrefix is type 5, interface-less (RFC 9136 section 4.4.1). */
export function ipPrefix(
  { vni, vtep, rd, exportTargets, routerMac }: EvpnRouting,
  prefix: Prefix,
  {
    localPreference,
    asPath,
    med,
    communities,
    largeCommunities,
    targets: own,
  }: Omit<LocalPrefix, "prefix"> = {},
): Originated {
  const exported = own?.map((text) => parseAdministered(text) as Administered) ?? exportTargets;
  return {
    nlri: {
      kind: "ip-prefix",
      rd,
      tag: 0,
      prefix,
      esi: ZERO_ESI,
      gateway: { family: prefix.family, value: 0n },
      label: vni,
    },
    attributes: {
      ...attributes(vtep, [...targets(exported), { kind: "router-mac", mac: routerMac }]),
      ...(localPreference === undefined ? {} : { localPreference }),
      ...(med === undefined ? {} : { med }),
      ...(communities === undefined ? {} : { communities }),
      ...(largeCommunities === undefined ? {} : { largeCommunities }),
      ...(asPath === undefined ? {} : { asPath }),
    },
  };
}

function isLinkLocal({ family, value }: Ip): boolean {
  return family === 6 ? value >> 118n === 0x3fan : value >> 16n === 0xa9fen;
}

/** targetWish is the route by which routes with a target are asked for (RFC 4684 section 4); without a target, all routes. */
export function targetWish(asn: number, target: Administered | undefined): Nlri {
  if (target === undefined) return { kind: "route-target", bits: 0, value: new Uint8Array(0) };
  const octets = encodeExtendedCommunity({ kind: "route-target", target });
  const value = Uint8Array.of(asn >>> 24, asn >>> 16, asn >>> 8, asn, ...octets);
  return { kind: "route-target", bits: 96, value };
}

/** autoTarget is the route target that follows from an AS and a VNI (RFC 8365 section 5.1.2.1 leaves the form open; this is FRR's). */
export function autoTarget(asn: number, vni: number): Administered {
  return { kind: "as2", as: asn & 0xffff, number: vni };
}

/** autoRd is a distinguisher of this router; `number` has 16 bits. */
export function autoRd(routerId: Ip, number: number): Administered {
  return { kind: "ip", address: routerId, number };
}
