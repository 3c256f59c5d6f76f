/**
 * The node's own BGP, by which nodes tell each other what of VPCs they have: a router of the overlay whose neighbors are the route reflectors
 * (RFC 4456). Nodes that reflect are called by all others.
 *
 * ```
 *  node ──call──▶ reflector ◀──call── node        families l2vpn-evpn and route-target (RFC 4684), paths watched by BFD
 *                  │ ▲  │
 *  VTEP ◀──call────┘ └──┴── other reflectors      VTEPs that are no nodes: FRR, for example
 * ```
 */
import type { Ip } from "../net/mod.ts";
import {
  CLUSTER_BGP_PORT,
  type BgpRouter,
  type FamilyOptions,
  type Mesh,
  type Neighbor,
  type NeighborOptions,
  type Node,
  nodeRole,
} from "../resources/mod.ts";

/** CLUSTER_ROUTER is the name of this router; no manifest can have it (BgpRouters of people are other routers). */
export const CLUSTER_ROUTER = "cluster";

/** BFD: a node that is dead is known to be after 1.5 s. Several short pauses of a busy machine do not make it dead. */
const BFD = { transmitMs: 300, receiveMs: 300, multiplier: 5 } as const;
/** How often a reflector is called that does not answer. */
const CALL_MS = 2000;
/** Reflectors that are gone, all of them: what they told is the best that is known. */
const WITHOUT_REFLECTORS_MS = 86_400_000;
/** How long routes of a node stay while its agent restarts (RFC 4724): what it forwards goes on without it. */
const RESTART_MS = 120_000;
/** After a restart a node that is dead must not keep all others from hearing news. */
const DEFERRAL_MS = 5_000;
/** A reflector that was cut off tells what it knows as soon as it is called; its other clients call it within that time. */
const SWEEP_MS = 15_000;
/** RFC 1997. */
const NO_ADVERTISE = 0xffff_ff02;

/** ClusterFacts say who is there. */
export interface ClusterFacts {
  readonly mesh: Pick<Mesh, "asn" | "reflectors" | "vteps">;
  readonly self: Pick<Node, "name" | "hub" | "role" | "overlay4">;
  /** All other nodes. */
  readonly nodes: readonly Pick<Node, "name" | "hub" | "role" | "overlay4">[];
  /** Whether this node has anything to lose: one that only listens, so that its first pod is known at once, is not watched by BFD. */
  readonly takesPart: boolean;
}

/** isReflector tells whether a node reflects. */
export function isReflector(
  { reflectors }: Pick<Mesh, "reflectors">,
  node: Pick<Node, "hub" | "role">,
): boolean {
  if (reflectors === undefined) return node.hub;
  return "roles" in reflectors && reflectors.roles.includes(nodeRole(node));
}

/** clusterRouter returns the router of a node. */
export function clusterRouter({ mesh, self, nodes, takesPart }: ClusterFacts): BgpRouter {
  const reflects = isReflector(mesh, self);
  const watched = takesPart || reflects ? { bfd: { ...BFD, keepRoutes: true } } : {};
  const others = nodes.filter(({ name }) => name !== self.name);
  const reflectors = others.filter((node) => isReflector(mesh, node));
  const clients = reflects ? others.filter((node) => !isReflector(mesh, node)) : [];
  const external =
    mesh.reflectors !== undefined && "addresses" in mesh.reflectors ? mesh.reflectors.addresses : [];
  const vteps = reflects ? (mesh.vteps ?? []) : [];
  const inside = insideOptions(self.overlay4);
  return {
    name: CLUSTER_ROUTER,
    asn: mesh.asn,
    routerId: self.overlay4,
    listen: reflects ? [{ ip: self.overlay4, port: CLUSTER_BGP_PORT }] : [],
    networks: [],
    maximumPaths: 1,
    alwaysCompareMed: false,
    install: false,
    redistribute: [],
    requirePolicy: true,
    restartMs: RESTART_MS,
    longLivedMs: reflects ? WITHOUT_REFLECTORS_MS : 0,
    ...(reflects ? { offPath: true as const } : {}),
    deferralMs: DEFERRAL_MS,
    sweepMs: SWEEP_MS,
    exportTargets: [],
    importTargets: [],
    wantAllTargets: reflects,
    groups: {
      // They are not where their routes lead: who is there stays reachable without them.
      reflectors: { ...inside, ...watched, families: familiesOf({}) },
      clients: {
        ...inside,
        bfd: BFD,
        passive: true,
        routeReflectorClient: true,
        families: familiesOf({ import: "wishes" }),
      },
      external: {
        asn: "internal",
        bfd: { ...BFD, keepRoutes: true },
        connectRetryMs: CALL_MS,
        families: familiesOf({}),
      },
      // They are called, so that no port of a hub is open to the network that VXLAN goes over.
      vteps: {
        asn: "internal",
        bfd: BFD,
        routeReflectorClient: true,
        connectRetryMs: CALL_MS,
        families: familiesOf({ import: "wishes" }),
      },
    },
    neighbors: [
      ...reflectors.map((node) => neighbor(node.overlay4, "reflectors")),
      ...clients.map((node) => neighbor(node.overlay4, "clients")),
      ...external.map((address) => neighbor(address, "external")),
      ...vteps.map(({ address }) => neighbor(address, "vteps")),
    ],
    dynamicNeighbors: [],
    // What one client wants is for the reflector alone: it asks every other one for all, and each would get the wishes of all.
    policies: { wishes: [{ match: {}, set: { addCommunity: [NO_ADVERTISE] }, action: "accept" }] },
  };
}

function neighbor(address: Ip, group: string): Neighbor {
  return { address, group };
}

/** Sessions in the overlay, where there is no router on the way. RFC 5082 keeps out what was forwarded, as from a pod. */
function insideOptions(source: Ip): NeighborOptions {
  return {
    asn: "internal",
    port: CLUSTER_BGP_PORT,
    source,
    ttlSecurity: 1,
    connectRetryMs: CALL_MS,
  };
}

function familiesOf(targets: FamilyOptions): NonNullable<NeighborOptions["families"]> {
  return { "l2vpn-evpn": {}, "route-target": targets };
}
