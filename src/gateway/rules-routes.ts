/** Rules of routes: what no two of them share, in whichever of the three lists they stand, and what each exchange of keys needs. */
import { formatIp, formatPrefix, type Ip, type Prefix } from "../net/mod.ts";
import { hostRule, type Report } from "./rule.ts";
import type { GatewayConfig, RouteConfig, VitaRouteConfig } from "./schema.ts";

/** AnyRoute is a route of whichever list. */
export interface AnyRoute {
  readonly path: string;
  readonly id: string;
  readonly route: VitaRouteConfig | RouteConfig;
  readonly prefixes: readonly Prefix[];
  readonly exchange: RouteConfig["exchange"];
}

/** routesOf returns the routes of all three lists, in the order of the lists and of the entries. */
export function routesOf(config: GatewayConfig): AnyRoute[] {
  const vita = (["route4", "route6"] as const).flatMap((name) =>
    [...config[name]].map(([id, route]): AnyRoute => ({
      path: `/${name}[id=${id}]`,
      id,
      route,
      prefixes: [route.net],
      exchange: "vita",
    })),
  );
  const own = [...config.route].map(([id, route]): AnyRoute => ({
    path: `/route[id=${id}]`,
    id,
    route,
    prefixes: route.net,
    exchange: route.exchange,
  }));
  return [...vita, ...own];
}

/** Something of a route that no other may have: its identity in memory, the leaf, and its text if that may be shown. */
interface Claim {
  readonly identity: string;
  readonly leaf: string;
  readonly value?: string;
}

const claims = new WeakMap<AnyRoute["route"], readonly Claim[]>();

/** The claims of a route; entries that a change leaves as they are keep theirs. */
function claimsOf({ id, route, prefixes }: AnyRoute): readonly Claim[] {
  const known = claims.get(route);
  if (known !== undefined) return known;
  const key = route["preshared-key"];
  const file = "exchange" in route ? route["preshared-key-file"] : undefined;
  const made: Claim[] = [
    { identity: `id ${id}`, leaf: "id", value: id },
    { identity: `spi ${route.spi}`, leaf: "spi", value: `${route.spi}` },
    ...prefixes.map(formatPrefix).map((net) => ({ identity: `net ${net}`, leaf: "net", value: net })),
  ];
  if (key !== undefined)
    made.push({ identity: `key ${Buffer.from(key.reveal()).toString("hex")}`, leaf: "preshared-key" });
  if (file !== undefined) made.push({ identity: `file ${file}`, leaf: "preshared-key-file", value: file });
  claims.set(route, made);
  return made;
}

function uniqueRules(routes: readonly AnyRoute[], report: Report): void {
  const owners = new Map<string, string>();
  for (const one of routes) {
    for (const { identity, leaf, value } of claimsOf(one)) {
      const other = owners.get(identity);
      if (other === undefined) owners.set(identity, one.path);
      else report(`${one.path}/${leaf}`, `is not unique: ${other} has it; write another`, value);
    }
  }
}

const never = "is not what Vita's exchange can agree on; remove it, or set exchange to causeway";

/** What a route of ours needs and may have, by its exchange. */
function exchangeRules(path: string, route: RouteConfig, report: Report): void {
  const { "preshared-key": key, "preshared-key-file": file, algorithm, encapsulation } = route;
  if (key !== undefined && file !== undefined)
    report(`${path}/preshared-key-file`, "stands beside preshared-key; keep one of them", file);
  if (route.exchange === "vita") {
    if (key === undefined && file === undefined)
      report(path, "has no key; add preshared-key or preshared-key-file");
    if (route["public-key"] !== undefined) report(`${path}/public-key`, never, route["public-key"]);
    if (algorithm !== undefined && algorithm !== "aes-128-gcm") report(`${path}/algorithm`, never, algorithm);
    if (encapsulation !== undefined && encapsulation !== "never")
      report(`${path}/encapsulation`, never, encapsulation);
    if (route.gateway.size === 0) report(`${path}/gateway`, "requires at least 1 element(s); add one");
    return;
  }
  if (key === undefined && file === undefined && route["public-key"] === undefined)
    report(path, "has no key; add public-key, preshared-key or preshared-key-file");
  if (route.gateway.size === 0 && encapsulation === "never")
    report(
      `${path}/encapsulation`,
      "does not fit a gateway that calls; remove it, or add gateway",
      encapsulation,
    );
}

/** The addresses by which others know this gateway. */
function ownAddresses(config: GatewayConfig): Ip[] {
  return [...config["public-interface4"].values(), ...config["public-interface6"].values()].flatMap((link) =>
    link["nat-ip"] === undefined ? [link.ip] : [link.ip, link["nat-ip"]],
  );
}

/** Routes whose gateways are addresses of hosts. */
const hosts = new WeakSet<AnyRoute["route"]>();

function hostRules({ path, route }: AnyRoute, report: Report): void {
  if (hosts.has(route)) return;
  let good = true;
  for (const [key, { ip }] of route.gateway)
    hostRule(`${path}/gateway[ip=${key}]/ip`, ip, (...found) => {
      good = false;
      report(...found);
    });
  if (good) hosts.add(route);
}

function selfWarnings({ path, route }: AnyRoute, own: ReadonlySet<string>, warn: Report): void {
  for (const key of route.gateway.keys())
    if (own.has(key))
      warn(`${path}/gateway[ip=${key}]/ip`, "is this gateway's own address: it will talk to itself", key);
}

/** RFC 8200, section 5: links carry IPv6 packets of this size. */
const LEAST_MTU6_BYTES = 1280;

/** routeRules judges all routes. */
export function routeRules(
  config: GatewayConfig,
  to: { readonly report: Report; readonly warn: Report },
): void {
  const routes = routesOf(config);
  uniqueRules(routes, to.report);
  const own = new Set(ownAddresses(config).map(formatIp));
  for (const one of routes) {
    if ("exchange" in one.route) exchangeRules(one.path, one.route, to.report);
    hostRules(one, to.report);
    selfWarnings(one, own, to.warn);
    const six = one.prefixes.find(({ family }) => family === 6);
    if (six !== undefined && config.mtu < LEAST_MTU6_BYTES)
      to.warn(
        `${one.path}/net`,
        `is of IPv6, whose links carry ${LEAST_MTU6_BYTES} bytes, and mtu is ${config.mtu}`,
        formatPrefix(six),
      );
  }
}
