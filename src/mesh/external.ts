/**
 * What is reached through the mesh without being a node's own: external peers with their networks, and networks behind nodes.
 *
 * ```
 *                              at the hub that carries the peer      at every other node
 *  an external peer            a WireGuard peer of its own           allowed IPs of that hub's peer
 *  networks behind it          its allowed IPs, routes               allowed IPs of that hub's peer, routes
 *  networks behind a node      allowed IPs of the node's peer, routes; the node itself masquerades what goes there
 * ```
 * An external peer knows one hub only, so its packets are decrypted there. It cannot send as another: WireGuard holds every peer to its
 * allowed IPs, at the hub and again at each node. A node that may not talk to the peer has no allowed IPs for it.
 */
import type { KernelObject, Peer, Route } from "../engine/mod.ts";
import { formatPrefix, type Prefix, prefixContains, type Secret } from "../net/mod.ts";
import { EXTERNAL_ROLE, type ExternalPeer, type Mesh, type Node, peerNetworks } from "../resources/mod.ts";
import { LINK } from "./facts.ts";
import { pathMtu } from "./mtu.ts";
import { mayTalk } from "./policy.ts";

/** ExternalFacts is what the objects of external peers depend on. */
export interface ExternalFacts {
  readonly mesh: Pick<Mesh, "rules">;
  readonly self: Node;
  readonly nodes: readonly Node[];
  /** MTU of cw0. */
  readonly mtuBytes: number;
  /** External peers of the mesh. */
  readonly peers?: readonly ExternalPeer[];
  /** By name of the peer, at the hub that carries it. */
  readonly presharedKeys?: ReadonlyMap<string, Secret>;
}

function reaches({ mesh, self }: ExternalFacts, peer: ExternalPeer): boolean {
  return mayTalk(mesh, self, {
    name: peer.name,
    hub: false,
    role: peer.role ?? EXTERNAL_ROLE,
    ...(peer.site === undefined ? {} : { site: peer.site }),
  });
}

/** carriedPrefixes returns the networks of the external peers that a hub carries: at other nodes, allowed IPs of the hub's peer beside its own. */
export function carriedPrefixes(hub: Node, facts: ExternalFacts): Prefix[] {
  if (!hub.hub) return [];
  const carried = (facts.peers ?? []).filter((peer) => peer.hub === hub.name && reaches(facts, peer));
  return carried.flatMap(peerNetworks);
}

/** routable returns those of some networks in which this machine has no address of its own outside the tunnel: there the way is shorter. */
export function routable(self: Node, networks: readonly Prefix[]): Prefix[] {
  return networks.filter((network) => !self.local.some(({ ip }) => prefixContains(network, ip)));
}

/** subnetsOf returns the networks behind a node that this one routes to it. Its allowed IPs are all of `node.subnets`. */
export function subnetsOf(node: Node, self: Node): Prefix[] {
  return routable(self, node.subnets ?? []);
}

function routes(peer: ExternalPeer, facts: ExternalFacts, mtuBytes: number): Route[] {
  const { self } = facts;
  const lower = mtuBytes < facts.mtuBytes;
  const wanted = lower ? peerNetworks(peer) : peer.allowed;
  return routable(self, wanted).map((destination) => ({
    kind: "route",
    destination,
    hops: [{ dev: LINK }],
    source: destination.family === 4 ? self.overlay4 : self.overlay6,
    ...(lower ? { mtuBytes } : {}),
  }));
}

/** Without its pre-shared key a peer would be there with less protection than was asked for: then it is not there. */
function carriedObjects(peer: ExternalPeer, facts: ExternalFacts): KernelObject[] {
  const presharedKey = facts.presharedKeys?.get(peer.name);
  if (peer.presharedKey && presharedKey === undefined) return [];
  const own: Peer = {
    kind: "peer",
    link: LINK,
    publicKey: peer.publicKey,
    ...(peer.endpoint === undefined ? {} : { endpoint: peer.endpoint }),
    allowedIps: peerNetworks(peer),
    ...(peer.presharedKey && presharedKey !== undefined ? { presharedKey } : {}),
  };
  return [own, ...routes(peer, facts, facts.mtuBytes)];
}

/** externalObjects returns the scopes of external peers, `external/NAME`. */
export function externalObjects(facts: ExternalFacts): ReadonlyMap<string, KernelObject[]> {
  const scopes = new Map<string, KernelObject[]>();
  for (const peer of facts.peers ?? []) {
    const hub = facts.nodes.find((node) => node.name === peer.hub);
    const objects =
      peer.hub === facts.self.name
        ? carriedObjects(peer, facts)
        : hub !== undefined && reaches(facts, peer)
          ? routes(peer, facts, pathMtu(facts.mtuBytes, hub.mtuBytes))
          : [];
    if (objects.length > 0) scopes.set(`external/${peer.name}`, objects);
  }
  return scopes;
}

/** subnetRules returns the rules by which a node masquerades what comes out of the tunnel for the networks behind it: the machines there know no way back. */
export function subnetRules(self: Node): string[] {
  return (self.subnets ?? []).map((network) => {
    const family = network.family === 4 ? "ip" : "ip6";
    // The name of the link that a packet came in by is known here since Linux 5.7 (28f8bfd1ac94).
    return `iifname "${LINK}" oifname != { "lo", "${LINK}" } ${family} daddr ${formatPrefix(network)} counter masquerade`;
  });
}
