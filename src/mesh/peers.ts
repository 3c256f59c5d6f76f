/**
 * WireGuard peers and routes, one scope per peer.
 *
 * ```
 *  allowed IPs of …   on a node                               on the hub
 *  the hub's peer     the whole overlay and pod networks      –
 *  a node's peer      its /32, /128 and pod ranges if the     its /32, /128 and pod ranges, always
 *                     pair is direct, else none
 * ```
 * WireGuard picks the longest prefix, for sending and for judging where a packet may come from. So moving one node between
 * direct and relayed changes its own peer alone; the hub's peer stays as it is, and nobody's session is disturbed.
 */
import type { KernelObject, Peer, Route } from "../engine/mod.ts";
import { hostPrefix, type Ip, type Prefix } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import { type Enrolment, LINK, type MeshFacts, type PeerPath } from "./facts.ts";
import { pathMtu } from "./mtu.ts";

/** Keeps the NAT's mapping towards the hub (most forget after 30 s). */
const HUB_KEEPALIVE_SECONDS = 25;

/** prefixesOf returns all networks that are a node's own. */
export function prefixesOf(node: Node): Prefix[] {
  return [hostPrefix(node.overlay4), hostPrefix(node.overlay6), ...podRanges(node)];
}

function podRanges(node: Node): Prefix[] {
  return [node.pods4, node.pods6].filter((prefix) => prefix !== undefined);
}

/** ownAddress returns the overlay address of a family, the source of what a node sends into the tunnel. */
export function ownAddress(node: Node, family: 4 | 6): Ip {
  return family === 4 ? node.overlay4 : node.overlay6;
}

/** tunnelRoute sends a network into the tunnel; the MTU is written only where it is less than the link's. */
function tunnelRoute(destination: Prefix, facts: MeshFacts, mtuBytes: number): Route {
  return {
    kind: "route",
    destination,
    hops: [{ dev: LINK }],
    source: ownAddress(facts.self, destination.family),
    ...(mtuBytes < facts.mtuBytes ? { mtuBytes } : {}),
  };
}

/** routesTo returns the routes of one node: its pod ranges, and its addresses if they need a lower MTU than the overlay's route has. */
function routesTo(node: Node, facts: MeshFacts, mtuBytes: number): Route[] {
  const addresses = mtuBytes < facts.mtuBytes ? [hostPrefix(node.overlay4), hostPrefix(node.overlay6)] : [];
  return [...addresses, ...podRanges(node)].map((prefix) => tunnelRoute(prefix, facts, mtuBytes));
}

/** hubObjects is what a node has for its hub. */
export function hubObjects(hub: Node, facts: MeshFacts): KernelObject[] {
  const { mesh } = facts;
  const peer: Peer = {
    kind: "peer",
    link: LINK,
    publicKey: hub.publicKey,
    ...(facts.hubEndpoint === undefined ? {} : { endpoint: facts.hubEndpoint }),
    allowedIps: [mesh.overlay4, mesh.overlay6, mesh.pods4, mesh.pods6].filter(
      (prefix) => prefix !== undefined,
    ),
    keepaliveSeconds: HUB_KEEPALIVE_SECONDS,
  };
  return [peer, ...routesTo(hub, facts, pathMtu(facts.mtuBytes, hub.mtuBytes))];
}

/** peerObjects is what a node has for another node that is not the hub. */
export function peerObjects(node: Node, facts: MeshFacts): KernelObject[] {
  const path: PeerPath = facts.paths?.get(node.name) ?? { direct: false };
  const hub = facts.nodes.find((other) => other.hub);
  const peer: Peer = {
    kind: "peer",
    link: LINK,
    publicKey: node.publicKey,
    ...(path.endpoint === undefined ? {} : { endpoint: path.endpoint }),
    allowedIps: path.direct ? prefixesOf(node) : [],
    ...(path.keepaliveSeconds === undefined ? {} : { keepaliveSeconds: path.keepaliveSeconds }),
  };
  const mtuBytes = pathMtu(facts.mtuBytes, node.mtuBytes, path.direct ? undefined : hub?.mtuBytes);
  return [peer, ...routesTo(node, facts, mtuBytes)];
}

/**
 * spokeObjects is what the hub has for a node. Endpoint and keepalive let the hub call first after it was away: a keepalive that is
 * set makes WireGuard begin a handshake at once, while the nodes would find out only at their next one.
 */
export function spokeObjects(node: Node, facts: MeshFacts): KernelObject[] {
  const endpoint = node.observed ?? node.endpoints[0];
  const peer: Peer = {
    kind: "peer",
    link: LINK,
    publicKey: node.publicKey,
    ...(endpoint === undefined ? {} : { endpoint }),
    allowedIps: prefixesOf(node),
    ...(endpoint === undefined ? {} : { keepaliveSeconds: HUB_KEEPALIVE_SECONDS }),
  };
  return [peer, ...routesTo(node, facts, pathMtu(facts.mtuBytes, node.mtuBytes))];
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
