/** Routes: identity, what differs, and the one request that swaps a route without a gap. Words of ip-route(8). */
import { formatIp, formatPrefix, ipEqual, type Ip, type Prefix } from "../net/mod.ts";
import {
  addRoute,
  deleteRoute,
  type RouteChange,
  type RouteHopInfo,
  type RouteInfo,
} from "../netlink/mod.ts";
import { type KindHandler, linkKey, requests, SAME, step, type View, words } from "./kind.ts";
import { nexthopKey } from "./nexthop.ts";
import type { Route, RouteHop } from "./object.ts";

const MAIN = 254;

/** routeKey identifies a route by destination, table and metric; values that are the default are left out. */
export function routeKey(route: {
  readonly destination: Prefix;
  readonly table?: number;
  readonly metric?: number;
}): string {
  const { destination, table = MAIN, metric } = route;
  const usual = destination.family === 6 ? 1024 : 0;
  let text = `route ${formatPrefix(destination)}`;
  if (table !== MAIN) text += ` table ${table}`;
  // The kernel makes 1024 out of 0 for IPv6 (IP6_RT_PRIO_USER).
  if ((metric || usual) !== usual) text += ` metric ${metric}`;
  return text;
}

/** route handles routes. */
export const route: KindHandler<Route> = {
  order: () => 70,
  key: routeKey,
  needs: (object) => {
    const links = (object.hops ?? []).flatMap((hop) => (hop.dev === undefined ? [] : [linkKey(hop.dev)]));
    return object.nexthopId === undefined ? links : [...links, nexthopKey(object.nexthopId)];
  },

  compare(object, view, key = routeKey(object)) {
    const info = view.mirror.tables.route.get(key);
    if (info === undefined)
      return step(
        "add",
        () => text("add", object, view),
        requests(() => addRoute(requested(object, view))),
      );
    if (same(object, info, view)) return SAME;
    const work = requests(() => addRoute({ ...requested(object, view), replace: true }));
    return step("change", () => text("replace", object, view), work);
  },

  remove(object, view) {
    if (!view.mirror.tables.route.has(routeKey(object))) return undefined;
    const { destination, table = MAIN, metric } = object;
    const change = {
      destination,
      table,
      protocol: view.mark.protocol,
      ...(metric !== undefined && { metric }),
    };
    const words = routeKey(object).slice("route ".length);
    return {
      text: `ip route del ${words} proto ${view.mark.protocol}`,
      work: requests(() => deleteRoute(change)),
    };
  },

  *ours(view) {
    for (const info of view.mirror.tables.route.values())
      yield { kind: "route", destination: info.destination, table: info.table, metric: info.metric };
  },
};

function requested(object: Route, view: View): RouteChange {
  const { kind: _kind, hops, ...rest } = object;
  return {
    ...rest,
    protocol: view.mark.protocol,
    ...(hops !== undefined && {
      hops: hops.map(({ dev, ...hop }) => {
        const index = dev === undefined ? undefined : view.mirror.link(dev)?.index;
        return index === undefined ? hop : { ...hop, linkIndex: index };
      }),
    }),
  };
}

function sameOptional(a: Ip | undefined, b: Ip | undefined): boolean {
  return a === undefined || b === undefined ? a === b : ipEqual(a, b);
}

/** All of a route that carries our mark is ours: a source or MTU that is not desired is a difference too. */
function same(object: Route, info: RouteInfo, view: View): boolean {
  const type = object.type ?? "unicast";
  if (info.type !== type || info.nexthopId !== object.nexthopId) return false;
  if (!sameOptional(info.source, object.source) || info.mtuBytes !== object.mtuBytes) return false;
  if (object.scope !== undefined && object.destination.family === 4 && info.scope !== object.scope)
    return false;
  if (object.nexthopId !== undefined || (type !== "unicast" && type !== "local")) return true;
  return sameHops(object.hops ?? [], info.hops, view);
}

function sameHops(wanted: readonly RouteHop[], actual: readonly RouteHopInfo[], view: View): boolean {
  if (wanted.length !== actual.length) return false;
  const left = [...actual];
  return wanted.every((hop) => {
    const index = hop.dev === undefined ? undefined : view.mirror.link(hop.dev)?.index;
    const at = left.findIndex(
      (found) =>
        sameOptional(hop.via, found.via) &&
        (index === undefined || index === found.linkIndex) &&
        (hop.onlink ?? found.onlink) === found.onlink &&
        (wanted.length === 1 || (hop.weight ?? 1) === found.weight),
    );
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}

function hopText(hop: RouteHop, destination: Prefix): string {
  const inet6 = hop.via?.family === 6 && destination.family === 4 ? "inet6 " : "";
  return words(
    hop.via !== undefined && `via ${inet6}${formatIp(hop.via)}`,
    hop.dev !== undefined && `dev ${hop.dev}`,
    hop.onlink && "onlink",
  );
}

function text(verb: "add" | "replace", object: Route, view: View): string {
  const { type, hops = [], table = MAIN } = object;
  const several = hops.length > 1;
  return words(
    `ip route ${verb}`,
    type !== undefined && type !== "unicast" && type,
    formatPrefix(object.destination),
    object.nexthopId !== undefined && `nhid ${object.nexthopId}`,
    hops.length === 1 && hopText(hops[0] as RouteHop, object.destination),
    table !== MAIN && `table ${table}`,
    `proto ${view.mark.protocol}`,
    object.scope !== undefined && `scope ${object.scope}`,
    object.source !== undefined && `src ${formatIp(object.source)}`,
    object.metric !== undefined && `metric ${object.metric}`,
    object.mtuBytes !== undefined && `mtu ${object.mtuBytes}`,
    ...(several
      ? hops.map((hop) => `nexthop ${hopText(hop, object.destination)} weight ${hop.weight ?? 1}`)
      : []),
  );
}
