/** Where a node may be reached, by rung of the ladder and by source, best first. Pure: names are resolved by the caller. */
import {
  type Endpoint,
  endpointEqual,
  formatEndpoint,
  type Ip,
  ipEqual,
  NOT_HOSTS,
  parsePrefix,
  type Prefix,
  prefixContains,
  prefixOf,
  tryParseEndpoint,
} from "../net/mod.ts";
import type { Observation } from "../resources/mod.ts";

/** RUNGS of the ladder, best first. `relay` is no candidate: it is what there is when no candidate works. */
export const RUNGS = ["lan", "direct", "punched", "relay"] as const;

/** Rung is one step of the ladder: same LAN, an address that anybody can call, one that must be called from both sides, a hub. */
export type Rung = (typeof RUNGS)[number];

/** CandidateSource says who named an endpoint. */
export type CandidateSource = "local" | "configured" | "ipv6" | "mapped" | "observed" | "peer-reflexive";

/** Candidate is one endpoint that may lead to a node. */
export interface Candidate {
  readonly endpoint: Endpoint;
  readonly rung: Exclude<Rung, "relay">;
  readonly source: CandidateSource;
  /** MTU of the link that leads there; 1500 when absent. The caller may fill it in. */
  readonly linkMtuBytes?: number;
}

/** CandidateNode is what is known of a node; a resource Node is one. */
export interface CandidateNode {
  /** `host:port`, name or address. */
  readonly endpoints: readonly string[];
  readonly observed: readonly Observation[];
  /** Port mappings at the node's own NAT. */
  readonly mapped: readonly Endpoint[];
  /** The node's own addresses with its port. */
  readonly local: readonly Endpoint[];
}

/** CandidateOptions is what the nodes themselves do not say. */
export interface CandidateOptions {
  /** The mesh's own networks: the tunnel would carry itself. */
  readonly inside?: readonly Prefix[];
  /** Addresses of names, by the text in `endpoints`. Addresses need no entry. */
  readonly resolved?: ReadonlyMap<string, readonly Endpoint[]>;
}

/** The most of one source and rung, so that none crowds out the others. */
const MAX_OF_SOURCE = 3;
/** MAX_CANDIDATES is the most endpoints that are tried for one node, of those that are named. */
export const MAX_CANDIDATES = 6 * MAX_OF_SOURCE;

const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"].map(
  parsePrefix,
);

/** isPrivate tells whether an address means something else elsewhere (RFC 1918, 6598, 4193). */
export function isPrivate(address: Ip): boolean {
  return PRIVATE.some((prefix) => prefixContains(prefix, address));
}

/** Lengths of the usual networks at one place; what a node's own interface says does not reach us. */
function sameLan(a: Ip, b: Ip): boolean {
  return a.family === b.family && prefixContains(prefixOf(a, a.family === 4 ? 24 : 64), b);
}

/** rungOf returns the rung of an endpoint from which a peer called and that nobody had named. */
export function rungOf(endpoint: Endpoint): Exclude<Rung, "relay"> {
  return isPrivate(endpoint.ip) ? "lan" : "punched";
}

/** candidatesFor lists endpoints of `peer` that `self` should try, best rung first. */
export function candidatesFor(
  self: CandidateNode,
  peer: CandidateNode,
  options: CandidateOptions = {},
): readonly Candidate[] {
  const { inside = [], resolved } = options;
  const ownIs = (address: Ip) => self.local.some((own) => ipEqual(own.ip, address));
  const sameNat = peer.observed.some((theirs) =>
    self.observed.some((ours) => ipEqual(ours.endpoint.ip, theirs.endpoint.ip)),
  );
  const hasOpenIpv6 = self.local.some(({ ip }) => ip.family === 6 && !isPrivate(ip));
  const near = (ip: Ip) =>
    self.local.some(
      (own) => sameLan(own.ip, ip) || (sameNat && own.ip.family === ip.family && isPrivate(own.ip)),
    );
  const all: Candidate[] = [];
  const add = (source: CandidateSource, rung: Candidate["rung"], endpoints: readonly Endpoint[]) => {
    let added = 0;
    for (const endpoint of endpoints) {
      const { ip } = endpoint;
      // Both have an address like 172.17.0.1: each would reach itself.
      if (ownIs(ip) || [...NOT_HOSTS, ...inside].some((prefix) => prefixContains(prefix, ip))) continue;
      if (ip.family === 6 && !isPrivate(ip) && !hasOpenIpv6 && source !== "configured") continue;
      if (all.some((one) => endpointEqual(one.endpoint, endpoint)) || added === MAX_OF_SOURCE) continue;
      all.push({ endpoint, rung, source });
      added++;
    }
  };
  // A public address of the same network is a neighbour's too: a data centre, or IPv6 at home.
  add(
    "local",
    "lan",
    peer.local.filter(({ ip }) => (isPrivate(ip) ? near(ip) : self.local.some((own) => sameLan(own.ip, ip)))),
  );
  const configured = peer.endpoints.flatMap((text) => {
    const literal = tryParseEndpoint(text);
    return literal === undefined ? (resolved?.get(text) ?? []) : [literal];
  });
  add("configured", "direct", configured);
  add(
    "local",
    "direct",
    peer.local.filter(({ ip }) => ip.family === 4 && !isPrivate(ip)),
  );
  add(
    "ipv6",
    "direct",
    peer.local.filter(({ ip }) => ip.family === 6 && !isPrivate(ip)),
  );
  add(
    "mapped",
    "direct",
    peer.mapped.filter(({ ip }) => !isPrivate(ip) || near(ip)),
  );
  // A hub on the same LAN as the peer sees an address that only that LAN can use.
  add(
    "observed",
    "punched",
    peer.observed.map(({ endpoint }) => endpoint).filter(({ ip }) => !isPrivate(ip) || near(ip)),
  );
  return all;
}

/** NatKind is how a node's NAT names it to different destinations (RFC 4787, section 4.1). */
export type NatKind = "none" | "endpoint-independent" | "endpoint-dependent" | "unknown";

/**
 * natKind tells what observers on different addresses say of a node: the same endpoint, or another for each. One observer cannot
 * tell. `local` are the node's own endpoints: one of them seen from outside means no NAT.
 */
export function natKind(
  observations: readonly Observation[],
  options: {
    readonly local?: readonly Endpoint[];
    /** Address of each hub by name: two names of one address are one observer. */
    readonly hubs?: ReadonlyMap<string, Ip>;
  } = {},
): NatKind {
  const { local = [], hubs } = options;
  const kinds = ([4, 6] as const).map((family): NatKind => {
    const seen = observations.filter(({ endpoint }) => endpoint.ip.family === family);
    if (seen.length === 0) return "unknown";
    if (seen.every(({ endpoint }) => local.some((own) => endpointEqual(own, endpoint)))) return "none";
    const observers = new Set(
      seen.map(({ hub }) => {
        const address = hubs?.get(hub);
        return address === undefined ? hub : `${address.family}/${address.value}`;
      }),
    );
    if (new Set(seen.map(({ endpoint }) => formatEndpoint(endpoint))).size > 1) return "endpoint-dependent";
    return observers.size > 1 ? "endpoint-independent" : "unknown";
  });
  // IPv4 is where NATs are.
  return kinds[0] === "unknown" ? (kinds[1] as NatKind) : (kinds[0] as NatKind);
}
