/** Routes that a configuration, or an IPAM plugin, wants in a private network beside the network's own. */
import { addRoute, Rtnetlink } from "../netlink/mod.ts";
import type { PodRoute } from "../pods/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { CniError } from "./error.ts";
import { changeOf } from "./interior.ts";
import type { VpcAttached } from "./vpc-network.ts";

/** routesOf returns those of families that the container has addresses of; one without a gateway leads to the network's. */
export function routesOf({ addresses, gateways }: VpcAttached, wanted: readonly PodRoute[]): PodRoute[] {
  return wanted
    .filter(({ destination }) => addresses.some(({ ip }) => ip.family === destination.family))
    .map((route) => {
      const gateway = gateways.find(({ family }) => family === route.destination.family);
      const leadsThere = route.gateway === undefined && (route.scope ?? "global") === "global";
      return leadsThere && gateway !== undefined ? { ...route, gateway } : route;
    });
}

/** addRoutes makes routes on a container's interface, and returns those that were not there. */
export function addRoutes(netns: Netns, ifname: string, routes: readonly PodRoute[]): PodRoute[] {
  if (routes.length === 0) return [];
  using inside = Rtnetlink.open({ netns });
  const linkIndex = inside.link(ifname)?.index;
  if (linkIndex === undefined)
    throw new Error(`Cannot set up ${ifname} in ${netns.path}: somebody removed it`);
  const answers = inside.execute(routes.map((route) => addRoute(changeOf(route, linkIndex))));
  return routes.filter((_, index) => {
    const error = answers[index];
    if (error === undefined) return true;
    if (error.code === "EEXIST") return false;
    throw new CniError(
      "badConfiguration",
      `Cannot install the routes of the configuration: ${error.message}`,
      {
        cause: error,
      },
    );
  });
}
