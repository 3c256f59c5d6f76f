/**
 * Underlay: how nodes take part in a data-centre fabric as provider-edge routers. Its links and its speaker are in a namespace of their own;
 * VPCs with `underlay` are terminated there.
 */
import { z } from "zod";
import {
  formatIp,
  formatPrefix,
  type Ip,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixContains,
} from "../net/mod.ts";
import { asnSchema } from "./bgp-neighbor.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { edgeSelectorJson, edgeSelectorSchema, type EdgeSelector } from "./edge-selector.ts";
import { duration } from "./edge-session.ts";
import {
  checkHostSession,
  checkPools,
  type HostSession,
  hostSessionFields,
  hostSessionJson,
} from "./host-session.ts";
import { sessionOf } from "./edge-session.ts";
import { durationSchema, ipSchema, labelSchema, linkSchema, prefixSchema, wholeNumber } from "./scalars.ts";
import { checkRoutes, type StaticRoute, staticRoutesJson, staticRoutesSchema } from "./static-route.ts";
import { checkLinks, type UnderlayLink, underlayLinkJson, underlayLinkSchema } from "./underlay-link.ts";
import {
  checkNeighbors,
  type UnderlayNeighbor,
  underlayNeighborJson,
  underlayNeighborSchema,
} from "./underlay-neighbor.ts";

/** DEFAULT_ROUTER is the router that is meant where none is named. Its namespace is `cw-underlay`. */
export const DEFAULT_ROUTER = "underlay";

/** TunnelEndpoint is where VXLAN of a node ends (VTEP). One of `prefixes` and `link` is there, or both. */
export interface TunnelEndpoint {
  /** A node has the address of each that is `start` and its index further than the first; at most one of a family. */
  readonly prefixes: readonly Prefix[];
  readonly start: number;
  /** What has the address; without `prefixes`, its own addresses are meant. Absent: the loopback interface. */
  readonly link?: string;
}

/** NodeIndex says how a node finds its place in pools; absent: the register's number. */
export type NodeIndex =
  | { readonly number: number }
  /** The host part of the link's first address, or of its address in `prefix`. */
  | { readonly link: string; readonly prefix?: Prefix };

/** Passthrough is a host session of the router itself: plain BGP and plain packets between host and fabric. Identity: name. */
export interface Passthrough extends HostSession {
  readonly name: string;
  readonly nodes?: EdgeSelector;
}

/** Underlay is a router of nodes in a fabric, as the resource of kind Underlay says it. */
export interface Underlay {
  readonly name: string;
  /** Several with one router are for different nodes. Names its namespace, `cw-<router>`. */
  readonly router: string;
  readonly nodes?: EdgeSelector;
  readonly asn: number;
  /** IPv4; a node's identifier is the address that is its index and 1 further than the first. */
  readonly routerIds: Prefix;
  /** RFC 4456. */
  readonly clusterId: Ip;
  readonly links: readonly UnderlayLink[];
  readonly neighbors: readonly UnderlayNeighbor[];
  /** Absent: no VPC can be here. */
  readonly tunnelEndpoint?: TunnelEndpoint;
  /** How long neighbors keep our routes while we restart (RFC 4724); 0: no graceful restart. */
  readonly restartMs: number;
  /** How long we keep theirs. */
  readonly stalePathMs: number;
  /** At most one fits a node. */
  readonly hostSessions: readonly Passthrough[];
  readonly routes: readonly StaticRoute[];
  readonly index?: NodeIndex;
}

const endpointSchema = z
  .strictObject(
    {
      prefixes: z.array(prefixSchema()).max(2, "names more than one network of a family").default([]),
      start: wholeNumber(0, 0xffff_ffff).default(0),
      link: linkSchema.optional(),
    },
    { error: "is not a tunnel endpoint; write {prefixes: [100.65.0.0/24]}, or {link: eth1}" },
  )
  .refine(
    ({ prefixes, link }) => prefixes.length > 0 || link !== undefined,
    "says no address; write {prefixes: [100.65.0.0/24]}, or {link: eth1} for that link's own",
  )
  .transform((given): TunnelEndpoint => withoutAbsent(given));

const indexSchema = z
  .strictObject(
    {
      number: wholeNumber(0, 0xffff_fffe).optional(),
      link: linkSchema.optional(),
      prefix: prefixSchema().optional(),
    },
    { error: "does not say a node's index; write {number: 3}, or {link: eth1}" },
  )
  .refine(
    ({ number, link, prefix }) =>
      (number === undefined) !== (link === undefined) && (prefix === undefined || link !== undefined),
    "says not one thing; write {number: 3}, {link: eth1} or {link: eth1, prefix: 192.0.2.0/24}",
  )
  .transform((given) => withoutAbsent(given) as NodeIndex);

const passthroughSchema = z
  .strictObject(
    { name: labelSchema, nodes: edgeSelectorSchema.optional(), ...hostSessionFields },
    {
      error:
        "is not a host session; write {name: metallb, asn: 64514, peerAsn: 64515, prefixes: [192.0.2.0/24]}",
    },
  )
  .transform((given) => sessionOf(given) as Passthrough);

const seconds = z.union([durationSchema, z.literal(0)], {
  error: "is not a duration such as 120s, nor 0 for none",
});

/** The fields of `spec`. */
export const underlayFields = {
  router: labelSchema
    .refine((name) => name.length <= 12 && !/^\d+$/.test(name), {
      error: "is not the name of a router; write at most 12 characters, not digits alone",
    })
    .default(DEFAULT_ROUTER),
  nodes: edgeSelectorSchema.optional(),
  asn: asnSchema,
  routerIds: prefixSchema(4).default(parsePrefix("10.0.0.0/24")),
  clusterId: ipSchema(4).default(parseIp("192.0.2.1")),
  links: z.array(underlayLinkSchema).min(1, "names no link; write [{name: eth1}]").max(64),
  neighbors: z
    .array(underlayNeighborSchema)
    .min(1, "names no neighbor; write [{address: 192.0.2.1, asn: 64512}]")
    .max(128),
  tunnelEndpoint: endpointSchema.optional(),
  restartTime: seconds.default(120_000),
  stalePathTime: durationSchema.default(360_000),
  hostSessions: z.array(passthroughSchema).max(64).default([]),
  routes: staticRoutesSchema.default([]),
  index: indexSchema.optional(),
} as const;

type Report = (field: string, value: string, problem: string) => void;

/** underlayFromSpec joins name and spec, and reports what does not fit together. */
export function underlayFromSpec(
  name: string,
  spec: z.output<z.ZodObject<typeof underlayFields>>,
  report: Report,
): Underlay {
  const { restartTime, stalePathTime, ...rest } = spec;
  const underlay: Underlay = withoutAbsent({
    name,
    ...rest,
    restartMs: restartTime,
    stalePathMs: stalePathTime,
  });
  checkLinks(underlay.links, report);
  checkNeighbors(underlay.neighbors, underlay, report);
  checkIdentifiers(underlay, report);
  checkEndpoint(underlay, report);
  checkRoutes("spec.routes", underlay.routes, report);
  const names = new Set<string>();
  underlay.hostSessions.forEach((session, i) => {
    const field = `spec.hostSessions[${i}]`;
    if (names.has(session.name)) report(`${field}.name`, session.name, "is there twice; choose another");
    names.add(session.name);
    checkHostSession(field, session, report, { sameAsn: true });
  });
  return underlay;
}

function checkIdentifiers(underlay: Underlay, report: Report): void {
  const { routerIds, clusterId, restartMs, stalePathMs } = underlay;
  if (prefixContains(routerIds, clusterId))
    report(
      "spec.clusterId",
      formatIp(clusterId),
      `is in spec.routerIds ${formatPrefix(routerIds)}, and would be some node's; choose one outside`,
    );
  if (clusterId.value === 0n) report("spec.clusterId", "0.0.0.0", "is no identifier; write another address");
  for (const [field, ms] of [
    ["restartTime", restartMs],
    ["stalePathTime", stalePathMs],
  ] as const)
    // RFC 4724 section 3: 12 bits of seconds.
    if (ms > 4_095_000 || ms % 1000 !== 0)
      report(`spec.${field}`, `${duration(ms)}`, "is not whole seconds up to 4095s; write it like 120s");
}

function checkEndpoint({ tunnelEndpoint, links }: Underlay, report: Report): void {
  if (tunnelEndpoint === undefined) return;
  const { prefixes, link } = tunnelEndpoint;
  checkPools("spec.tunnelEndpoint.prefixes", prefixes, report);
  if (link !== undefined && !links.some(({ name }) => name === link))
    report("spec.tunnelEndpoint.link", link, "is no link of this Underlay; add it to spec.links");
}

/** underlaySpec returns the fields of `spec` as JSON. */
export function underlaySpec(underlay: Underlay): { readonly [field: string]: Json } {
  const { tunnelEndpoint: endpoint, index } = underlay;
  return present({
    router: underlay.router,
    nodes: underlay.nodes && edgeSelectorJson(underlay.nodes),
    asn: underlay.asn,
    routerIds: formatPrefix(underlay.routerIds),
    clusterId: formatIp(underlay.clusterId),
    links: underlay.links.map(underlayLinkJson),
    neighbors: underlay.neighbors.map(underlayNeighborJson),
    tunnelEndpoint:
      endpoint &&
      present({
        prefixes: endpoint.prefixes.length === 0 ? undefined : endpoint.prefixes.map(formatPrefix),
        start: endpoint.start === 0 ? undefined : endpoint.start,
        link: endpoint.link,
      }),
    restartTime: duration(underlay.restartMs),
    stalePathTime: duration(underlay.stalePathMs),
    hostSessions:
      underlay.hostSessions.length === 0
        ? undefined
        : underlay.hostSessions.map((session) =>
            present({
              name: session.name,
              nodes: session.nodes && edgeSelectorJson(session.nodes),
              ...hostSessionJson(session),
            }),
          ),
    routes: staticRoutesJson(underlay.routes),
    index: index && indexJson(index),
  });
}

function indexJson(index: NodeIndex): Json {
  if ("number" in index) return { number: index.number };
  return present({ link: index.link, prefix: index.prefix && formatPrefix(index.prefix) });
}

/** underlayExample is a manifest for the documentation, tested to be valid. */
export const underlayExample = `apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata:
  name: rack-a
spec:
  nodes: {labels: [rack=a]}             # default: all
  asn: 64514
  routerIds: 10.0.0.0/24                # default; a node has the one after its index
  links:
    - {name: eth1}                      # moved into the router, and given back
    - {name: fabric0, vlan: {parent: eth0, id: 100}, addressesFrom: [192.0.2.16/24]}
  neighbors:
    - {address: 192.168.11.2, asn: 64512, bfd: {}, hold: 90s, keepalive: 30s}
    - {link: fabric0, asn: external}    # unnumbered
  tunnelEndpoint: {prefixes: [100.65.0.0/24]}
  hostSessions:                         # plain BGP and plain packets between host and fabric
    - {name: metallb, asn: 64514, peerAsn: 64515, prefixes: [192.169.9.0/24]}
`;
