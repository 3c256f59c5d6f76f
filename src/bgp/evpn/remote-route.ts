/**
 * EVPN routes of other VTEPs, as far as forwarding asks: types 2, 3 and 5 with VXLAN. What many routes have in common is decoded once for a set of
 * attributes, and what a route says itself is read from its key and extra in place (wire/evpn-nlri.ts shows them).
 */
import { type Ip, ipFromBytes, type Mac, macFromBytes, type Prefix, prefixOf } from "../../net/mod.ts";
import {
  type AsPath,
  attributesOf,
  decodeEsi,
  type Esi,
  EVPN_TYPE,
  type ExtendedCommunity,
  type LargeCommunity,
  printAdministered,
  readU24,
  TUNNEL,
} from "../wire/mod.ts";

/** EvpnAttributes are a set of attributes; one object for all routes that have it. */
export interface EvpnAttributes {
  readonly nextHop: Ip | undefined;
  /** Route targets, as `64512:300`. */
  readonly targets: readonly string[];
  /** VXLAN, or nothing said (RFC 8365 section 5.1.3: then it is what the network uses). */
  readonly isVxlan: boolean;
  /** RFC 7432 section 7.7. */
  readonly sequence: number;
  readonly sticky: boolean;
  /** RFC 9135 section 8.1. */
  readonly routerMac: Mac | undefined;
  /** RFC 9012 section 4.3. */
  readonly colors: readonly number[];
  /** RFC 6514 section 5, of ingress replication: where broadcast is sent, and with which VNI. */
  readonly flood: { readonly vtep: Ip; readonly vni: number } | undefined;
  readonly localPreference: number;
  /** What rules may look at, as far as it is there. */
  readonly ruled: Pick<Told, "asPath" | "communities" | "largeCommunities">;
}

interface Told {
  /** Route targets, as `64512:300`; the same array for routes of the same attributes. */
  readonly targets: readonly string[];
  readonly vtep: Ip;
  /** Absent: it comes from our own AS. */
  readonly asPath?: AsPath;
  /** Absent: none. */
  readonly communities?: readonly number[];
  readonly largeCommunities?: readonly LargeCommunity[];
}

/** EvpnHost is type 2. */
export interface EvpnHost extends Told {
  readonly kind: "host";
  readonly vni: number;
  readonly mac: Mac;
  readonly ip?: Ip;
  readonly sequence: number;
  readonly sticky: boolean;
  /** RFC 9135: the VNI in which its address is routed, and the router there. */
  readonly l3vni?: number;
  readonly routerMac?: Mac;
  /** What it belongs to, by what its origin says; absent: nothing. */
  readonly colors?: readonly number[];
  /** A host with several links (RFC 7432 section 8.4); absent: one. */
  readonly esi?: Esi;
}

/** EvpnFlood is type 3. */
export interface EvpnFlood extends Told {
  readonly kind: "flood";
  readonly vni: number;
}

/** EvpnPrefix is type 5, interface-less (RFC 9136 section 4.4.1). */
export interface EvpnPrefix extends Told {
  readonly kind: "prefix";
  readonly vni: number;
  readonly prefix: Prefix;
  readonly routerMac: Mac;
  readonly localPreference: number;
}

/** EvpnRoute is one of them. */
export type EvpnRoute = EvpnHost | EvpnFlood | EvpnPrefix;

/** EvpnChange tells of a route. `id` is a small number that is used again: a `set` takes the place of whatever had it. */
export type EvpnChange =
  | { readonly op: "set"; readonly id: number; readonly route: EvpnRoute }
  | { readonly op: "remove"; readonly id: number };

/** evpnAttributes reads canonical attributes. */
export function evpnAttributes(canonical: Uint8Array): EvpnAttributes {
  const { nextHop, extendedCommunities = [], pmsiTunnel, localPreference, ...more } = attributesOf(canonical);
  const { asPath, communities, largeCommunities } = more;
  const one = <K extends ExtendedCommunity["kind"]>(kind: K) =>
    extendedCommunities.find((community) => community.kind === kind) as
      Extract<ExtendedCommunity, { kind: K }> | undefined;
  const tunnels = extendedCommunities.filter((community) => community.kind === "encapsulation");
  const mobility = one("mac-mobility");
  return {
    nextHop: nextHop?.address,
    targets: extendedCommunities.flatMap((community) =>
      community.kind === "route-target" ? [printAdministered(community.target)] : [],
    ),
    isVxlan: tunnels.length === 0 || tunnels.some(({ tunnel }) => tunnel === TUNNEL.vxlan),
    sequence: mobility?.sequence ?? 0,
    sticky: mobility?.sticky ?? false,
    routerMac: one("router-mac")?.mac,
    colors: extendedCommunities.flatMap((community) => (community.kind === "color" ? [community.color] : [])),
    flood:
      pmsiTunnel?.kind === "ingress-replication"
        ? { vtep: pmsiTunnel.endpoint, vni: pmsiTunnel.label }
        : undefined,
    localPreference: localPreference ?? 100,
    ruled: {
      ...(asPath === undefined || asPath.length === 0 ? {} : { asPath }),
      ...(communities === undefined ? {} : { communities }),
      ...(largeCommunities === undefined ? {} : { largeCommunities }),
    },
  };
}

/** decodeRemote returns what a route tells; undefined for other types, other encapsulations, and what lacks a part that is needed. */
export function decodeRemote(
  key: Uint8Array,
  extra: Uint8Array,
  attributes: EvpnAttributes,
): EvpnRoute | undefined {
  if (!attributes.isVxlan) return undefined;
  switch (key[0]) {
    case EVPN_TYPE.macIp:
      return hostOf(key, extra, attributes);
    case EVPN_TYPE.inclusiveMulticast:
      return attributes.flood && { kind: "flood", ...attributes.flood, targets: attributes.targets };
    case EVPN_TYPE.ipPrefix:
      return prefixFrom(key, extra, attributes);
    default:
      return undefined;
  }
}

function hostOf(key: Uint8Array, extra: Uint8Array, attributes: EvpnAttributes): EvpnHost | undefined {
  const { nextHop: vtep, targets, sequence, sticky, routerMac, colors, ruled } = attributes;
  if (vtep === undefined || extra.length < 13) return undefined;
  const esi = decodeEsi(extra, 0);
  return {
    kind: "host",
    targets,
    vtep,
    vni: readU24(extra, 10),
    mac: macFromBytes(key.subarray(13, 19)),
    ...(key.length === 20 ? {} : { ip: ipFromBytes(key.subarray(20)) }),
    sequence,
    sticky,
    ...(extra.length === 16 ? { l3vni: readU24(extra, 13) } : {}),
    ...(routerMac === undefined ? {} : { routerMac }),
    ...(colors.length === 0 ? {} : { colors }),
    ...(esi === 0n ? {} : { esi }),
    ...ruled,
  };
}

function prefixFrom(key: Uint8Array, extra: Uint8Array, attributes: EvpnAttributes): EvpnPrefix | undefined {
  const { nextHop: vtep, targets, routerMac, localPreference, ruled } = attributes;
  const octets = key.length - 14;
  if (vtep === undefined || routerMac === undefined || extra.length !== 13 + octets) return undefined;
  // With a segment or a gateway as overlay index (RFC 9136 sections 4.1 to 4.3) it leads elsewhere than to the next hop.
  for (let i = 0; i < 10 + octets; i++) if (extra[i] !== 0) return undefined;
  const prefix = prefixOf(ipFromBytes(key.subarray(14)), key[13] as number);
  return {
    kind: "prefix",
    targets,
    vtep,
    vni: readU24(extra, 10 + octets),
    prefix,
    routerMac,
    localPreference,
    ...ruled,
  };
}
