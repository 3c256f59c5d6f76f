/** Rules of routes: what no two of them share, in whichever of the three lists they stand, and what each exchange of keys needs. */
import { formatIp, formatPrefix, type Ip, ipEqual, type Prefix } from "../net/mod.ts";
import { hostRule, type Report } from "./rule.ts";
import type { GatewayConfig, RouteConfig, VitaRouteConfig } from "./schema.ts";
import type { SecretBytes } from "./secret-bytes.ts";

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

/** What is taken already, by kind, and the path of who has it. */
class Taken {
  readonly #owners = new Map<string, string>();
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  /** Takes a value, or reports at `path` that `owner`'s is not the first. */
  take(
    kind: string,
    identity: string,
    at: { readonly owner: string; readonly path: string; readonly value?: string },
  ): void {
    const key = `${kind} ${identity}`;
    const other = this.#owners.get(key);
    if (other === undefined) this.#owners.set(key, at.owner);
    else this.#report(at.path, `is not unique: ${other} has it; write another`, at.value);
  }
}

const hex = (secret: SecretBytes) => Buffer.from(secret.reveal()).toString("hex");

function uniqueRules(routes: readonly AnyRoute[], report: Report): void {
  const taken = new Taken(report);
  for (const { path: owner, id, route, prefixes } of routes) {
    const take = (kind: string, identity: string, leaf: string, value?: string) =>
      taken.take(kind, identity, {
        owner,
        path: `${owner}/${leaf}`,
        ...(value === undefined ? {} : { value }),
      });
    take("id", id, "id", id);
    take("spi", `${route.spi}`, "spi", `${route.spi}`);
    if (route["preshared-key"] !== undefined) take("psk", hex(route["preshared-key"]), "preshared-key");
    if ("exchange" in route && route["preshared-key-file"] !== undefined)
      take("file", route["preshared-key-file"], "preshared-key-file", route["preshared-key-file"]);
    for (const prefix of prefixes) take("net", formatPrefix(prefix), "net", formatPrefix(prefix));
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

function gatewayRules(
  { path, route }: AnyRoute,
  own: readonly Ip[],
  to: { report: Report; warn: Report },
): void {
  for (const { ip } of route.gateway.values()) {
    const at = `${path}/gateway[ip=${formatIp(ip)}]`;
    hostRule(`${at}/ip`, ip, to.report);
    if (own.some((address) => ipEqual(address, ip)))
      to.warn(`${at}/ip`, "is this gateway's own address: it will talk to itself", formatIp(ip));
  }
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
  const own = ownAddresses(config);
  for (const one of routes) {
    if ("exchange" in one.route) exchangeRules(one.path, one.route, to.report);
    gatewayRules(one, own, to);
    const six = one.prefixes.find(({ family }) => family === 6);
    if (six !== undefined && config.mtu < LEAST_MTU6_BYTES)
      to.warn(
        `${one.path}/net`,
        `is of IPv6, whose links carry ${LEAST_MTU6_BYTES} bytes, and mtu is ${config.mtu}`,
        formatPrefix(six),
      );
  }
}
