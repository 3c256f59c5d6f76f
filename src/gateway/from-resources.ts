/**
 * A Gateway with its Routes as a configuration: the same rules judge both, and what they say is told of the object and the field that somebody
 * wrote. A Route that is refused is left out, or stays as it was, and the others are used.
 */
import { formatIp } from "../net/mod.ts";
import type {
  Gateway,
  GatewayAddress,
  GatewayInterface,
  ManifestProblem,
  PublicInterface,
  Route,
  RouteGateway,
} from "../resources/mod.ts";
import { sameValue } from "./identity.ts";
import type { ConfigProblem } from "./problem.ts";
import { checkConfig } from "./rules.ts";
import type { GatewayConfig, LinkConfig, PublicLinkConfig, RouteConfig } from "./schema.ts";
import { defaultConfig } from "./verbs.ts";

/** A value under a name, or nothing where there is none. */
function maybe<const N extends string, T>(name: N, value: T | undefined): { readonly [K in N]?: T } {
  return (value === undefined ? {} : { [name]: value }) as { readonly [K in N]?: T };
}

function linkConfig(side: GatewayInterface, address: GatewayAddress): LinkConfig {
  return {
    ip: address.ip,
    "nexthop-ip": address.nextHop,
    ...maybe("ifname", side.interface),
    // The domain 0000 is not written, as where text is read.
    ...maybe("pci", side.pci?.replace(/^0000:/, "")),
    ...maybe("mac", side.mac),
    ...maybe("nexthop-mac", address.nextHopMac),
  };
}

function publicLinks(
  sides: readonly PublicInterface[],
  which: "address4" | "address6",
): Map<string, PublicLinkConfig> {
  const links = new Map<string, PublicLinkConfig>();
  for (const side of sides) {
    const address = side[which];
    if (address === undefined) continue;
    links.set(formatIp(address.ip), {
      ...linkConfig(side, address),
      queue: side.queue,
      ...maybe("device-queue", side.deviceQueue),
      ...maybe("nat-ip", address.natIp),
    });
  }
  return links;
}

function routeConfig(route: Route): RouteConfig {
  const gateway = (one: RouteGateway) => [formatIp(one.ip), one] as const;
  return {
    id: route.name,
    spi: route.spi,
    exchange: route.exchange,
    net: route.prefixes,
    gateway: new Map(route.gateways.map(gateway)),
    ...maybe("public-key", route.publicKey),
    ...maybe("preshared-key-file", route.presharedKeyFile),
    ...maybe("algorithm", route.algorithm),
    ...maybe("encapsulation", route.encapsulation),
  };
}

/** Keys are in no resource: operators' SAs stay as they were given. */
function associations(gateway: Gateway, before: GatewayConfig | undefined): Partial<GatewayConfig> {
  if (!gateway.dataPlane || before === undefined) return {};
  return { "outbound-sa": before["outbound-sa"], "inbound-sa": before["inbound-sa"] };
}

function toConfig(gateway: Gateway, routes: readonly Route[], before?: GatewayConfig): GatewayConfig {
  const { private: inside, associationBytes: bytes, associationPackets: packets } = gateway;
  const address = (one: GatewayAddress | undefined) => one && inside && linkConfig(inside, one);
  return {
    ...defaultConfig,
    ...maybe("private-interface4", address(inside?.address4)),
    ...maybe("private-interface6", address(inside?.address6)),
    ...maybe("vpc", gateway.vpc),
    "public-interface4": publicLinks(gateway.public, "address4"),
    "public-interface6": publicLinks(gateway.public, "address6"),
    mtu: gateway.mtuBytes,
    ...maybe("tfc", gateway.tfc ? true : undefined),
    "protocol-port": gateway.port,
    "negotiation-ttl": gateway.negotiationMs / 1000,
    "sa-ttl": gateway.associationMs / 1000,
    ...maybe("sa-bytes", bytes === undefined ? undefined : BigInt(bytes)),
    ...maybe("sa-packets", packets === undefined ? undefined : BigInt(packets)),
    ...maybe("data-plane", gateway.dataPlane ? true : undefined),
    backend: gateway.backend,
    cpu: gateway.cpus,
    route: new Map(routes.map((route) => [route.name, routeConfig(route)])),
    ...associations(gateway, before),
  };
}

const leafFields: Readonly<Record<string, string>> = {
  ip: "ip",
  "nexthop-ip": "nextHop",
  "nat-ip": "natIp",
  spi: "spi",
  net: "prefixes",
  "preshared-key-file": "presharedKeyFile",
  "public-key": "publicKey",
  algorithm: "algorithm",
  encapsulation: "encapsulation",
  gateway: "gateways",
};

const gatewayFields: Readonly<Record<string, string>> = {
  "/vpc": "spec.vpc",
  "/mtu": "spec.mtuBytes",
  "/sa-ttl": "spec.associationTime",
  "/negotiation-ttl": "spec.negotiationTime",
};

/** The field of a Gateway that a path means. */
function gatewayField(gateway: Gateway, path: string): string {
  const [, side, family, ip, leaf] =
    /^\/(private|public)-interface([46])(?:\[ip=([^\]]*)\])?(?:\/(.*))?$/.exec(path) ?? [];
  if (side === undefined) return gatewayFields[path] ?? (/^\/(?:out|in)bound-sa/.test(path) ? path : "spec");
  const address = `address${family}` as "address4" | "address6";
  const index = gateway.public.findIndex(
    (one) => one[address] !== undefined && formatIp(one[address].ip) === ip,
  );
  const place = side === "private" ? "spec.private" : index < 0 ? "spec.public" : `spec.public[${index}]`;
  if (leaf === "device-queue") return `${place}.deviceQueue`;
  const field = leaf === undefined ? undefined : leafFields[leaf];
  return field === undefined ? place : `${place}.${address}.${field}`;
}

/** The field of a Route that a path means. */
function routeField(route: Route, path: string): string {
  const [, ip, leaf] = /^(?:\/gateway\[ip=([^\]]*)\])?(?:\/(.*))?$/.exec(path) ?? [];
  const field = leaf === undefined ? undefined : leafFields[leaf];
  if (ip === undefined) return field === undefined ? "spec" : `spec.${field}`;
  const index = route.gateways.findIndex((one) => formatIp(one.ip) === ip);
  return `spec.gateways[${index}].${field}`;
}

/** The Route that a problem is about. */
function routeOf(routes: readonly Route[], { path }: ConfigProblem): Route | undefined {
  const id = /^\/route\[id=([^\]]*)\]/.exec(path)?.[1];
  return routes.find(({ name }) => name === id);
}

function told(problem: ConfigProblem, gateway: Gateway, route: Route | undefined): ManifestProblem {
  const rest = problem.path.replace(/^\/route\[id=[^\]]*\]/, "");
  return {
    object: route === undefined ? `Gateway "${gateway.name}"` : `Route "${route.name}"`,
    field: route === undefined ? gatewayField(gateway, rest) : routeField(route, rest),
    ...(problem.value === undefined ? {} : { value: problem.value }),
    problem: problem.rule
      .replaceAll(/\/route\[id=([^\]]*)\]/g, 'Route "$1"')
      .replaceAll(/\/(?:private|public)-interface[46](?:\[ip=[^\]]*\])?/g, (path) =>
        gatewayField(gateway, path),
      ),
  };
}

/** GatewayResources are a Gateway and its Routes as they are used. */
export interface GatewayResources {
  /** Absent: the Gateway itself is refused. */
  readonly config?: GatewayConfig;
  readonly problems: readonly ManifestProblem[];
  readonly warnings: readonly ManifestProblem[];
}

/** Of what was found, that which does not rest on another Route that is refused itself: without that one it may be gone. */
function firstOf(problems: readonly ConfigProblem[], routes: readonly Route[]): ConfigProblem[] {
  const refused = new Set(problems.map((problem) => routeOf(routes, problem)?.name));
  return problems.filter(({ rule }) => {
    const other = /: \/route\[id=([^\]]*)\] has it/.exec(rule)?.[1];
    return other === undefined || !refused.has(other);
  });
}

/** FormerConfig is what a gateway has, of which stays what is wrong in its new form. */
export interface FormerConfig {
  readonly config: GatewayConfig;
  /** Whether a route of it that is not among the Routes is wrong there; else it is gone. */
  readonly isWrong: (route: string) => boolean;
}

/** Those that are as they were come first, so that of two that do not go together the newcomer is refused. */
function settledFirst(routes: readonly Route[], before: GatewayConfig | undefined): Route[] {
  const isSettled = (route: Route) => sameValue(before?.route.get(route.name), routeConfig(route));
  return [...routes.filter(isSettled), ...routes.filter((route) => !isSettled(route))];
}

/** Puts back what routes were that are wrong now, as far as it goes together with the others. */
function withFormer(config: GatewayConfig, former: FormerConfig, refused: ReadonlySet<string>) {
  let all = config;
  for (const [id, route] of former.config.route) {
    if (all.route.has(id) || !(refused.has(id) || former.isWrong(id))) continue;
    const next = { ...all, route: new Map([...all.route, [id, route]]) };
    if (checkConfig(next).problems.length === 0) all = next;
  }
  return all;
}

/**
 * configOfResources returns the configuration that a Gateway and its Routes mean; Routes of other Gateways are passed over. With what there was
 * before, a Route that is refused stays as it was.
 */
export function configOfResources(
  gateway: Gateway,
  routes: readonly Route[],
  former?: FormerConfig,
): GatewayResources {
  const problems: ManifestProblem[] = [];
  const refused = new Set<string>();
  const mine = routes.filter((route) => route.gateway === gateway.name);
  let own = settledFirst(mine, former?.config);
  for (;;) {
    const config = toConfig(gateway, own, former?.config);
    const findings = checkConfig(config);
    const tell = (problem: ConfigProblem) => told(problem, gateway, routeOf(own, problem));
    const found = firstOf(findings.problems, own);
    problems.push(...found.map(tell));
    const wrong = new Set(found.map((problem) => routeOf(own, problem)));
    if (wrong.has(undefined)) return { problems, warnings: [] };
    if (wrong.size === 0) {
      const all = former === undefined ? config : withFormer(config, former, refused);
      return { config: all, problems, warnings: findings.warnings.map(tell) };
    }
    for (const route of wrong) if (route !== undefined) refused.add(route.name);
    // The first that is refused rests on none that is, so that there are fewer each time.
    own = own.filter((route) => !wrong.has(route));
  }
}
