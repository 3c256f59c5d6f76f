/** From an Underlay to a router of a node. */
import { hostPrefix, type Prefix } from "../net/mod.ts";
import {
  type EdgeSession,
  type HostSession,
  type Underlay,
  type UnderlayLink,
  type UnderlayNeighbor,
  underlayNeighborName,
} from "../resources/mod.ts";
import { isInternal, sessionFamilies } from "./families.ts";
import type { EdgeEndpoint, EdgeLink, EdgeRouter, FabricSession, HostLeg } from "./model.ts";
import { EDGE_LINK, passthroughLink, routerNamespace } from "./names.ts";
import { edgeAddress, endpointOf, hostAddress, linkAddress, routerIdOf } from "./pool.ts";

/** As many at once as FRR takes by OpenPERouter's default. */
const LISTEN_LIMIT = 65_535;

/** planRouter returns a router without its domains; pools were judged before. */
export function planRouter(
  underlay: Underlay,
  index: number,
  passthrough: HostSession | undefined,
): Omit<EdgeRouter, "domains"> {
  const { name, router, asn, clusterId, restartMs, stalePathMs, routes } = underlay;
  const endpoints = endpointsOf(underlay, index);
  const leg = passthrough && passthroughLeg(router, passthrough, index);
  return {
    name: router,
    namespace: routerNamespace(router),
    underlay: name,
    asn,
    routerId: routerIdOf(underlay.routerIds, index),
    clusterId,
    restartMs,
    stalePathMs,
    links: underlay.links.map((link) => linkOf(link, index)),
    endpoints,
    announce: [
      ...endpoints.flatMap(({ address }) => (address === undefined ? [] : [hostPrefix(address)])),
      ...(leg === undefined ? [] : hostPrefixes(leg)),
    ],
    routes,
    sessions: underlay.neighbors.map((neighbor) => sessionOf(neighbor, underlay, passthrough)),
    ...(leg === undefined ? {} : { passthrough: leg }),
  };
}

function linkOf({ name, made, addresses, addressesFrom, mtuBytes }: UnderlayLink, index: number): EdgeLink {
  return {
    name,
    made,
    addresses: [...addresses, ...addressesFrom.map((first) => linkAddress(first, index))],
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
  };
}

function endpointsOf({ tunnelEndpoint: endpoint }: Underlay, index: number): EdgeEndpoint[] {
  if (endpoint === undefined) return [];
  const { prefixes, start, link } = endpoint;
  if (prefixes.length === 0) return ([4, 6] as const).map((family) => ({ family, link: link as string }));
  return prefixes
    .map((prefix) => ({
      family: prefix.family,
      address: endpointOf(prefix, start, index),
      ...(link === undefined ? {} : { link }),
    }))
    .sort((a, b) => a.family - b.family);
}

function peerOf({ address, link, listen, limit }: UnderlayNeighbor): FabricSession["peer"] {
  if (address !== undefined) return { address };
  if (listen !== undefined) return { listen, limit: limit ?? LISTEN_LIMIT };
  return { link: link as string };
}

function sessionOf(
  neighbor: UnderlayNeighbor,
  underlay: Underlay,
  passthrough: HostSession | undefined,
): FabricSession {
  const { address, link, listen, multihop } = neighbor;
  const families = sessionFamilies(neighbor, underlay, passthrough);
  const by6 = link !== undefined || (address ?? listen)?.family === 6;
  return {
    ...commonOf(neighbor),
    name: underlayNeighborName(neighbor),
    peer: peerOf(neighbor),
    asn: neighbor.asn,
    internal: isInternal(neighbor.asn, underlay.asn),
    ...(multihop === undefined ? {} : { multihop }),
    families,
    extendedNextHop: by6 && families.some(({ family }) => family === "ipv4-unicast"),
  };
}

const COMMON = [
  "port",
  "password",
  "holdMs",
  "keepaliveMs",
  "connectRetryMs",
  "bfd",
  "import",
  "export",
  "maximumPrefixes",
] as const satisfies readonly (keyof EdgeSession)[];

function commonOf(session: EdgeSession): EdgeSession {
  return Object.fromEntries(
    COMMON.filter((field) => session[field] !== undefined).map((field) => [field, session[field]]),
  );
}

/** LegWish is what a host leg is made of. */
export interface LegWish {
  readonly session: HostSession;
  readonly index: number;
  /** Where the session names no link. */
  readonly hostLink: string;
  readonly overheadBytes: number;
}

/** hostLeg returns a leg with this node's addresses. */
export function hostLeg({ session, index, hostLink, overheadBytes }: LegWish): HostLeg {
  const prefixes = [...session.prefixes].sort((a, b) => a.family - b.family);
  return {
    hostLink: session.link ?? hostLink,
    edgeLink: EDGE_LINK,
    edge: prefixes.map(edgeAddress),
    host: prefixes.map((prefix) => hostAddress(prefix, index)),
    overheadBytes,
    asn: session.asn,
    peerAsn: session.peerAsn,
    internal: isInternal(session.peerAsn, session.asn),
    session: commonOf(session),
  };
}

function passthroughLeg(router: string, session: HostSession, index: number): HostLeg {
  return hostLeg({ session, index, hostLink: passthroughLink(router), overheadBytes: 0 });
}

/** hostPrefixes returns the host's addresses on a leg as networks of one address: only this node announces them. */
export function hostPrefixes({ host }: HostLeg): Prefix[] {
  return host.map(({ ip }) => hostPrefix(ip));
}
