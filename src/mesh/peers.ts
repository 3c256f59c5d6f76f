/**
 * WireGuard peers and routes, one scope per peer.
 *
 * Every node has a peer for every other one that it may talk to, with that node's prefixes as allowed IPs, always. A path is the peer's endpoint
 * and nothing else: the node's own, or a hub's, which relays what it cannot read. So moving a path changes one endpoint, and nobody else's session.
 */
import type { KernelObject, Peer, Route } from "../engine/mod.ts";
import { hostPrefix, type Ip, type Prefix } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import { carriedPrefixes, subnetsOf } from "./external.ts";
import { type Enrolment, LINK, type MeshFacts, type PeerPath } from "./facts.ts";
import { pathMtu } from "./mtu.ts";
import { twins } from "./twin.ts";

/** prefixesOf returns all networks that are a node's own, and those behind it. */
export function prefixesOf(node: Node): Prefix[] {
  return [hostPrefix(node.overlay4), hostPrefix(node.overlay6), ...podRanges(node), ...(node.subnets ?? [])];
}

function podRanges(node: Node): Prefix[] {
  return [node.pods4, node.pods6].filter((prefix) => prefix !== undefined);
}

/** ownAddress returns the overlay address of a family, the source of what a node sends into the tunnel. */
export function ownAddress(node: Node, family: 4 | 6): Ip {
  return family === 4 ? node.overlay4 : node.overlay6;
}

/** tunnelRoute sends a network into the tunnel; the MTU is written only where it is less than the link's. */
export function tunnelRoute(destination: Prefix, facts: MeshFacts, mtuBytes: number): Route {
  return {
    kind: "route",
    destination,
    hops: [{ dev: LINK }],
    source: ownAddress(facts.self, destination.family),
    ...(mtuBytes < facts.mtuBytes ? { mtuBytes } : {}),
  };
}

/**
 * routesTo returns the routes of one node: its pod ranges, and its addresses if they need another MTU than the overlay's route has. One that rests has
 * none for what all nodes at rest share.
 */
function routesTo(node: Node, facts: MeshFacts, options: Shared & { readonly mtuBytes: number }): Route[] {
  const { mtuBytes, sharedMtuBytes = facts.mtuBytes } = options;
  const rests = facts.paths?.get(node.name)?.rests === true;
  const addresses = mtuBytes === sharedMtuBytes ? [] : [hostPrefix(node.overlay4), hostPrefix(node.overlay6)];
  const own = rests ? [] : [...addresses, ...podRanges(node)];
  return [...own, ...subnetsOf(node, facts.self)].map((prefix) => tunnelRoute(prefix, facts, mtuBytes));
}

/** What nodes at rest share. */
interface Shared {
  /** MTU of their routes; absent when none rests. */
  readonly sharedMtuBytes?: number | undefined;
}

/** peerObjects is what a node has for another one. */
export function peerObjects(node: Node, facts: MeshFacts, shared: Shared = {}): KernelObject[] {
  const path: PeerPath = facts.paths?.get(node.name) ?? {};
  const { endpoint, endpointSerial, generation, keepaliveSeconds } = path;
  const presharedKey = facts.pairKeys?.get(node.name);
  const peer: Peer = {
    kind: "peer",
    link: LINK,
    publicKey: node.publicKey,
    ...(endpoint === undefined ? {} : { endpoint }),
    allowedIps: [...prefixesOf(node), ...carriedPrefixes(node, facts)],
    ...(keepaliveSeconds === undefined ? {} : { keepaliveSeconds }),
    ...(generation === undefined ? {} : { generation }),
    ...(endpointSerial === undefined ? {} : { endpointSerial }),
    ...(presharedKey === undefined ? {} : { presharedKey }),
  };
  return [
    ...twins(peer, node, { heard: facts.heardNext?.has(node.name) === true }),
    ...routesTo(node, facts, {
      ...shared,
      mtuBytes: pathMtu(facts.mtuBytes, node.mtuBytes, path.mtuBytes),
    }),
  ];
}

/** enrolmentPeers is what the hub has for one token: a peer per use, confined to the address of that use. */
export function enrolmentPeers(enrolment: Enrolment): KernelObject[] {
  return enrolment.uses.map((use) => ({
    kind: "peer",
    link: LINK,
    publicKey: use.publicKey,
    allowedIps: [hostPrefix(use.address)],
  }));
}
