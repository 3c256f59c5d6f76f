/** The routers that lead to the Internet: whom to ask for a port. */
import type { Family, Ip } from "../net/mod.ts";
import type { RouteInfo } from "../netlink/mod.ts";

const MAIN_TABLE = 254;

/** Gateway is a router, and the link on which it is. */
export interface Gateway {
  readonly ip: Ip;
  readonly linkIndex: number;
}

/** defaultRouters returns the next hop of the best default route of each family. */
export function defaultRouters(routes: readonly RouteInfo[]): Gateway[] {
  return ([4, 6] as const).flatMap((family) => best(routes, family));
}

function best(routes: readonly RouteInfo[], family: Family): Gateway[] {
  const [route] = routes
    .filter(
      ({ table, type, destination, from }) =>
        table === MAIN_TABLE &&
        type === "unicast" &&
        destination.length === 0 &&
        destination.family === family &&
        from === undefined,
    )
    .sort((a, b) => a.metric - b.metric);
  return (route?.hops ?? [])
    .slice(0, 1)
    .flatMap(({ via, linkIndex }) =>
      via === undefined || linkIndex === undefined || via.family !== family ? [] : [{ ip: via, linkIndex }],
    );
}
