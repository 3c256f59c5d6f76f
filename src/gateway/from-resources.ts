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

/** Candidate is a route that may become one of the configuration. */
interface Candidate {
  readonly config: RouteConfig;
  /** Absent: the route as it was, in place of a Route that is wrong. */
  readonly route?: Route;
}

function toConfig(gateway: Gateway, routes: readonly Candidate[], before?: GatewayConfig): GatewayConfig {
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
    route: new Map(routes.map(({ config }) => [config.id, config])),
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

/** The route that a problem is about. */
function candidateOf(routes: readonly Candidate[], { path }: ConfigProblem): Candidate | undefined {
  const id = /^\/route\[id=([^\]]*)\]/.exec(path)?.[1];
  return routes.find(({ config }) => config.id === id);
}

/** Nothing of a route as it was: of the Route in its place something was told. */
function told(problem: ConfigProblem, gateway: Gateway, about: Candidate | undefined): ManifestProblem[] {
  const rest = problem.path.replace(/^\/route\[id=[^\]]*\]/, "");
  if (about !== undefined && about.route === undefined) return [];
  const route = about?.route;
  return [
    {
      object: route === undefined ? `Gateway "${gateway.name}"` : `Route "${route.name}"`,
      field: route === undefined ? gatewayField(gateway, rest) : routeField(route, rest),
      ...(problem.value === undefined ? {} : { value: problem.value }),
      problem: problem.rule
        .replaceAll(/\/route\[id=([^\]]*)\]/g, 'Route "$1"')
        .replaceAll(/\/(?:private|public)-interface[46](?:\[ip=[^\]]*\])?/g, (path) =>
          gatewayField(gateway, path),
        ),
    },
  ];
}

/** GatewayResources are a Gateway and its Routes as they are used. */
export interface GatewayResources {
  /** Absent: the Gateway itself is refused. */
  readonly config?: GatewayConfig;
  readonly problems: readonly ManifestProblem[];
  readonly warnings: readonly ManifestProblem[];
}

/** Of what was found, that which does not rest on another route that is refused itself: without that one it may be gone. */
function firstOf(problems: readonly ConfigProblem[], routes: readonly Candidate[]): ConfigProblem[] {
  const refused = new Set(problems.map((problem) => candidateOf(routes, problem)?.config.id));
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

/** A Route that is as it was is the same, so that a change costs what it touches. */
function candidate(route: Route, before: GatewayConfig | undefined): Candidate {
  const [former, made] = [before?.route.get(route.name), routeConfig(route)];
  return { route, config: former !== undefined && sameValue(former, made) ? former : made };
}

/** In the order in which they count: of two that do not go together the newcomer is refused. */
function candidates(routes: readonly Route[], former: FormerConfig | undefined): Candidate[] {
  const before = former?.config;
  const all = routes.map((route) => candidate(route, before));
  const names = new Set(routes.map(({ name }) => name));
  const kept = [...(before?.route.values() ?? [])].filter(({ id }) => !names.has(id) && former?.isWrong(id));
  const isSettled = ({ config }: Candidate) => before?.route.get(config.id) === config;
  return [
    ...all.filter(isSettled),
    ...kept.map((config) => ({ config })),
    ...all.filter((one) => !isSettled(one)),
  ];
}

/** Without those that are wrong; what there was of them before counts first. */
function without(
  wrong: ReadonlySet<Candidate | undefined>,
  own: readonly Candidate[],
  before: GatewayConfig | undefined,
): Candidate[] {
  const former = [...wrong].flatMap((one) => {
    const config = one && before?.route.get(one.config.id);
    return config === undefined || config === one?.config ? [] : [{ config }];
  });
  return [...former, ...own.filter((one) => !wrong.has(one))];
}

/** As it is with what has not changed of before, so that the same is known to be the same. */
function keptIn(config: GatewayConfig, before: GatewayConfig | undefined): GatewayConfig {
  if (before === undefined) return config;
  const kept = (Object.keys(config) as (keyof GatewayConfig)[]).map((name) => [
    name,
    name !== "route" && sameValue(config[name], before[name]) ? before[name] : config[name],
  ]);
  return Object.fromEntries(kept) as GatewayConfig;
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
  const mine = routes.filter((route) => route.gateway === gateway.name);
  const before = former?.config;
  let own = candidates(mine, former);
  for (;;) {
    const config = keptIn(toConfig(gateway, own, before), before);
    const findings = checkConfig(config);
    const tell = (problem: ConfigProblem) => told(problem, gateway, candidateOf(own, problem));
    const found = firstOf(findings.problems, own);
    problems.push(...found.flatMap(tell));
    const wrong = new Set(found.map((problem) => candidateOf(own, problem)));
    if (wrong.has(undefined)) return { problems, warnings: [] };
    if (wrong.size === 0) return { config, problems, warnings: findings.warnings.flatMap(tell) };
    // The first that is refused rests on none that is, so that there are fewer each time, or one is as it was.
    own = without(wrong, own, before);
  }
}
