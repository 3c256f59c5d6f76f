/** Routes. Words of ip-route(8). */
import {
  formatIp,
  formatPrefix,
  type Family,
  type Ip,
  type Prefix,
  prefixAddress,
  prefixOf,
} from "../net/mod.ts";
import type { Reader } from "../wire/mod.ts";
import { afOf, familyOf } from "./family.ts";
import { FLAG, message, request, type RouteRequest } from "./request.ts";
import { CLONED, HOP, ROUTE, type RouteHopEntry, routeMessage } from "./route-table.ts";

/** RTN_… by number. */
const types = [
  "other",
  "unicast",
  "local",
  "broadcast",
  "anycast",
  "multicast",
  "blackhole",
  "unreachable",
  "prohibit",
  "throw",
] as const;

/** RouteType is what a route does with packets. */
export type RouteType = (typeof types)[number];

const scopes = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 } as const;

/** RouteScope is how far the destination is. */
export type RouteScope = keyof typeof scopes;

/** RouteHopInfo is one way of a route, as the kernel reports it. */
export interface RouteHopInfo {
  readonly via?: Ip;
  readonly linkIndex?: number;
  readonly onlink: boolean;
  /** 1 to 256. */
  readonly weight: number;
  readonly dead: boolean;
  readonly linkDown: boolean;
}

/** RouteInfo is a route as the kernel reports it. */
export interface RouteInfo {
  readonly destination: Prefix;
  readonly table: number;
  /** Who made it: 2 kernel, 3 boot, 4 static, … */
  readonly protocol: number;
  /** Priority; 0 when the kernel reports none. */
  readonly metric: number;
  readonly type: RouteType;
  readonly scope: RouteScope;
  /** Ways to go; those of a next-hop object are listed too. */
  readonly hops: readonly RouteHopInfo[];
  readonly nexthopId?: number;
  /** Preferred source. */
  readonly source?: Ip;
  /** Source-specific routing (IPv6). */
  readonly from?: Prefix;
  readonly mtuBytes?: number;
  /** Maximum segment size that TCP tells the other end. */
  readonly advmssBytes?: number;
  readonly tos: number;
}

/** RouteHopChange is one way to ask for. Without `via` the destination is on the link. */
export interface RouteHopChange {
  readonly via?: Ip;
  readonly linkIndex?: number;
  /** Believe that `via` is on the link, whatever the addresses say. */
  readonly onlink?: boolean;
  /** 1 to 256, default 1. */
  readonly weight?: number;
}

/** RouteChange names a route to add or to delete. Destination, table and metric tell routes apart. */
export interface RouteChange {
  readonly destination: Prefix;
  /** Default 254 (main). */
  readonly table?: number;
  /** Default 3 (boot) for a new route; any for one to delete. */
  readonly protocol?: number;
  readonly metric?: number;
  /** Default unicast. */
  readonly type?: Exclude<RouteType, "other">;
  /** Default as ip-route(8): link for hops without `via`, host for local, else global. */
  readonly scope?: RouteScope;
  readonly hops?: readonly RouteHopChange[];
  readonly nexthopId?: number;
  readonly source?: Ip;
  readonly mtuBytes?: number;
  readonly advmssBytes?: number;
}

/** addRoute makes a route; EEXIST if it is there, unless `replace`, which swaps it in one step. */
export function addRoute(change: RouteChange & { readonly replace?: boolean }): RouteRequest {
  const flags = change.replace === true ? FLAG.create | FLAG.replace : FLAG.create | FLAG.exclusive;
  const verb = change.replace === true ? "replace" : "add";
  return request(
    () => `${verb} route ${describe(change)}`,
    message(ROUTE.new, flags, routeMessage, encodeRoute(change, { protocol: 3, type: "unicast" })),
  );
}

/** deleteRoute removes a route; ESRCH if there is none. */
export function deleteRoute(change: RouteChange): RouteRequest {
  return request(
    () => `delete route ${describe(change)}`,
    message(ROUTE.delete, 0, routeMessage, encodeRoute(change, { scope: "nowhere" })),
  );
}

function describe(change: RouteChange): string {
  const words = [formatPrefix(change.destination)];
  if (change.type !== undefined && change.type !== "unicast") words.unshift(change.type);
  for (const hop of change.hops ?? []) {
    if (hop.via !== undefined) words.push(`via ${formatIp(hop.via)}`);
    if (hop.linkIndex !== undefined) words.push(`dev ${hop.linkIndex}`);
  }
  if (change.nexthopId !== undefined) words.push(`nhid ${change.nexthopId}`);
  if (change.table !== undefined && change.table !== 254) words.push(`table ${change.table}`);
  if (change.metric !== undefined) words.push(`metric ${change.metric}`);
  return words.join(" ");
}

function encodeRoute(
  change: RouteChange,
  fallback: { readonly protocol?: number; readonly type?: "unicast"; readonly scope?: RouteScope },
): Parameters<typeof routeMessage.encode>[1] {
  const { destination, hops = [], table = 254 } = change;
  const type = change.type ?? fallback.type;
  const only = hops.length === 1 ? (hops[0] as RouteHopChange) : undefined;
  return {
    header: {
      family: afOf(destination.family),
      destinationLength: destination.length,
      table: table < 256 ? table : 0,
      protocol: change.protocol ?? fallback.protocol ?? 0,
      scope: scopes[change.scope ?? fallback.scope ?? defaultScope(change)],
      type: type === undefined ? 0 : types.indexOf(type),
      flags: only?.onlink === true ? HOP.onlink : 0,
    },
    body: {
      destination: destination.length === 0 ? undefined : prefixAddress(destination),
      output: only?.linkIndex,
      ...gatewayOf(only, destination.family),
      priority: change.metric,
      source: change.source,
      metrics: metricsOf(change),
      multipath: hops.length > 1 ? hops.map((hop) => entryOf(hop, destination.family)) : undefined,
      table: table < 256 ? undefined : table,
      nexthopId: change.nexthopId,
    },
  };
}

function metricsOf({ mtuBytes, advmssBytes }: RouteChange) {
  return mtuBytes === undefined && advmssBytes === undefined ? undefined : { mtuBytes, advmssBytes };
}

/** The kernel refuses a scope that does not fit the hops; ip-route(8) chooses like this. IPv6 has no scopes. */
function defaultScope(change: RouteChange): RouteScope {
  const { type = "unicast", hops = [] } = change;
  if (change.destination.family === 6) return "global";
  if (type === "local") return "host";
  if (type === "broadcast" || type === "multicast" || type === "anycast") return "link";
  const onLink = hops.length > 0 && hops.every((hop) => hop.via === undefined);
  return type === "unicast" && onLink ? "link" : "global";
}

function gatewayOf(hop: RouteHopChange | undefined, family: Family) {
  if (hop?.via === undefined) return {};
  return hop.via.family === family ? { gateway: hop.via } : { via: hop.via };
}

function entryOf(hop: RouteHopChange, family: Family): RouteHopEntry {
  return {
    flags: hop.onlink === true ? HOP.onlink : 0,
    hops: (hop.weight ?? 1) - 1,
    index: hop.linkIndex ?? 0,
    attributes: gatewayOf(hop, family),
  };
}

/** decodeRoute reads RTM_NEWROUTE and RTM_DELROUTE; undefined for other families and for cached exceptions. */
export function decodeRoute(reader: Reader): RouteInfo | undefined {
  const { header, body } = routeMessage.decode(reader);
  const family = familyOf(header.family);
  if (family === undefined || (header.flags & CLONED) !== 0) return undefined;
  const { metrics, nexthopId, source } = body;
  return {
    destination: prefixFrom(family, body.destination, header.destinationLength),
    table: body.table ?? header.table,
    protocol: header.protocol,
    metric: body.priority ?? 0,
    type: types[header.type] ?? "other",
    scope: scopeName(header.scope),
    hops: hopsOf(header.flags, body),
    ...(nexthopId !== undefined && { nexthopId }),
    ...(source !== undefined && { source }),
    ...(header.fromLength > 0 && { from: prefixFrom(family, body.from, header.fromLength) }),
    ...(metrics?.mtuBytes !== undefined && { mtuBytes: metrics.mtuBytes }),
    ...(metrics?.advmssBytes !== undefined && { advmssBytes: metrics.advmssBytes }),
    tos: header.tos,
  };
}

function hopsOf(flags: number, body: ReturnType<typeof routeMessage.decode>["body"]): RouteHopInfo[] {
  if (body.multipath !== undefined)
    return body.multipath.map((entry) =>
      hopInfo(entry.flags, entry.attributes, { linkIndex: entry.index, weight: entry.hops + 1 }),
    );
  if (body.output === undefined && body.gateway === undefined && body.via === undefined) return [];
  return [hopInfo(flags, body, { linkIndex: body.output ?? 0, weight: 1 })];
}

function hopInfo(
  flags: number,
  gateway: RouteHopEntry["attributes"],
  { linkIndex, weight }: { readonly linkIndex: number; readonly weight: number },
): RouteHopInfo {
  const via = gateway.gateway ?? gateway.via;
  return {
    ...(via !== undefined && { via }),
    ...(linkIndex !== 0 && { linkIndex }),
    onlink: (flags & HOP.onlink) !== 0,
    weight,
    dead: (flags & HOP.dead) !== 0,
    linkDown: (flags & HOP.linkDown) !== 0,
  };
}

/** prefixFrom makes a prefix of what messages say; the address is absent for length 0. */
export function prefixFrom(family: Family, address: Ip | undefined, length: number): Prefix {
  const width = family === 4 ? 32 : 128;
  return prefixOf(address?.family === family ? address : { family, value: 0n }, Math.min(length, width));
}

function scopeName(scope: number): RouteScope {
  for (const [name, value] of Object.entries(scopes)) if (value === scope) return name as RouteScope;
  return "global";
}
