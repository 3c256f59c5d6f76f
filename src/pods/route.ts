/** The routes of a pod: a default route to the node for each family, and what the network's configuration asks for. */
import { type Ip, ip, type Prefix, prefixOf } from "../net/mod.ts";
import { confinedRoutes } from "./confined.ts";
import { gatewaysOf, type NodeFacts } from "./node.ts";
import type { Pod } from "./pod.ts";

/** PodRoute is a route of a pod. Without a gateway the destination is on the link. */
export interface PodRoute {
  readonly destination: Prefix;
  readonly gateway?: Ip;
  readonly mtuBytes?: number;
  /** Maximum segment size that TCP tells the other end. */
  readonly advmssBytes?: number;
  readonly priority?: number;
  /** Default 254 (main). */
  readonly table?: number;
  /** Default global. */
  readonly scope?: "global" | "link" | "host";
  /** The gateway is on the link, whatever the addresses say. */
  readonly onlink?: boolean;
  /** Source of packets that have none yet. */
  readonly source?: Ip;
}

/** PodRouteOptions are what a configuration asks for. */
export interface PodRouteOptions {
  /** Beside ours, or instead of our default routes. One of global scope without a gateway leads to the node. */
  readonly routes?: readonly PodRoute[];
  /** False leaves our default routes away. */
  readonly defaultRoute?: boolean;
}

const MAIN = 254;

/**
 * interiorRoutes returns the routes of the families that a pod has addresses of, ours first. A default route that is asked for replaces
 * ours of its family.
 */
export function interiorRoutes(pod: Pod, node: NodeFacts, options: PodRouteOptions = {}): PodRoute[] {
  if (pod.confined !== undefined) return confinedRoutes(pod, node);
  const { routes = [], defaultRoute = true } = options;
  const has = (family: 4 | 6) => pod.addresses.some((address) => address.family === family);
  const gateways = gatewaysOf(node.ranges)
    .map((address) => address.ip)
    .filter(({ family }) => has(family));
  const asked = routes
    .filter(({ destination }) => has(destination.family))
    .map((route): PodRoute => {
      const gateway = gateways.find(({ family }) => family === route.destination.family);
      const leadsToNode = route.gateway === undefined && (route.scope ?? "global") === "global";
      return leadsToNode && gateway !== undefined ? { ...route, gateway } : route;
    });
  const replaced = asked.filter(
    ({ destination, table }) => destination.length === 0 && (table ?? MAIN) === MAIN,
  );
  const ours = gateways
    .filter(
      ({ family }) => defaultRoute && !replaced.some(({ destination }) => destination.family === family),
    )
    .map((gateway): PodRoute => ({ destination: prefixOf(ip(gateway.family, 0n), 0), gateway }));
  return [...ours, ...asked];
}
