/**
 * BgpRouter: one BGP speaker with its neighbors, in one namespace. Several of one process exchange unicast routes by route targets.
 */
import { z } from "zod";
import {
  type Endpoint,
  formatDurationMs,
  formatEndpoint,
  formatIp,
  formatPrefix,
  type Ip,
  parseEndpoint,
  type Prefix,
} from "../net/mod.ts";
import {
  asnSchema,
  bgpFamilies,
  type DynamicNeighbors,
  dynamicJson,
  dynamicSchema,
  groupSchema,
  type Neighbor,
  neighborJson,
  type NeighborOptions,
  neighborSchema,
  optionsJson,
} from "./bgp-neighbor.ts";
import { evpnJson, evpnProblems, evpnSchema, type EvpnWish } from "./bgp-evpn.ts";
import { type PolicyRule, policyJson, policySchema, routeTargetSchema } from "./bgp-policy.ts";
import { type Json, present } from "./canonical.ts";
import {
  durationSchema,
  endpointSchema,
  ipSchema,
  labelSchema,
  prefixSchema,
  wholeNumber,
} from "./scalars.ts";

/**
 * Kinds of the kernel's routes: `connected` are those that the kernel made for addresses, `static` those of protocol static (rtnetlink(7)), and
 * `kernel` all others that somebody put there, but not what BGP speakers did.
 */
export const redistributeKinds = ["connected", "static", "kernel"] as const;

/** RedistributeKind is one of them. */
export type RedistributeKind = (typeof redistributeKinds)[number];

/** BgpRouter is a BGP speaker. */
export interface BgpRouter {
  readonly name: string;
  readonly asn: number;
  readonly routerId: Ip;
  /** RFC 4456; absent: the router id. */
  readonly clusterId?: Ip;
  /** Network namespace, by name or path; absent: the process's own. */
  readonly namespace?: string;
  /** Where neighbors call; empty: nowhere. */
  readonly listen: readonly Endpoint[];
  /** Prefixes announced as they stand here. */
  readonly networks: readonly Prefix[];
  /** EVPN routes that are announced as they stand here. */
  readonly evpn?: EvpnWish;
  /** Equal best paths that are used together. */
  readonly maximumPaths: number;
  readonly alwaysCompareMed: boolean;
  /** Whether the best unicast routes go to the kernel. */
  readonly install: boolean;
  /** Routing table of the kernel to put routes into, and to take them from; absent: 254 (main). */
  readonly installTable?: number;
  /** Which routes of the kernel are announced. */
  readonly redistribute: readonly RedistributeKind[];
  /** RFC 8212: without a policy an external neighbor gets and gives nothing. */
  readonly requirePolicy: boolean;
  /** How long neighbors keep our routes while we restart (RFC 4724); 0: no graceful restart. */
  readonly restartMs: number;
  /** How long stale routes are kept after that (RFC 9494); 0: not at all. */
  readonly longLivedMs: number;
  /** It is not on the way to where its routes lead: they are good after a reboot of its machine too (Forwarding State, RFC 4724 section 3). */
  readonly offPath?: true;
  /** How long nothing is selected after a restart while neighbors have not said all they know (RFC 4724 section 4.1); absent: 60 s. */
  readonly deferralMs?: number;
  /** How long stale routes of a neighbor that is no client stay after its End-of-RIB; absent: not at all, as RFC 4724 has it. */
  readonly sweepMs?: number;
  /** Route targets with which unicast routes go to, and are taken from, other routers of this process. */
  readonly exportTargets: readonly string[];
  readonly importTargets: readonly string[];
  /** Asks neighbors for EVPN routes of all route targets (RFC 4684): for a reflector that does not pass the wishes of its clients on. */
  readonly wantAllTargets?: boolean;
  readonly groups: Readonly<Record<string, NeighborOptions>>;
  readonly neighbors: readonly Neighbor[];
  readonly dynamicNeighbors: readonly DynamicNeighbors[];
  readonly policies: Readonly<Record<string, readonly PolicyRule[]>>;
}

const yes = z.boolean({ error: "is not true or false" });
/** 0 is said as a number: a duration has no zero. */
const durationOrNone = z.union([durationSchema, z.literal(0)], {
  error: "is not a duration such as 120s, nor 0 for none",
});

/** The fields of `spec`. */
export const bgpRouterFields = {
  asn: asnSchema,
  routerId: ipSchema(4),
  clusterId: ipSchema(4).optional(),
  namespace: z.string().min(1).max(4096).optional(),
  listen: z
    .array(endpointSchema)
    .max(16)
    .default([parseEndpoint("0.0.0.0:179"), parseEndpoint("[::]:179")]),
  networks: z.array(prefixSchema()).max(100_000).default([]),
  evpn: evpnSchema.optional(),
  maximumPaths: wholeNumber(1, 64).default(1),
  alwaysCompareMed: yes.default(false),
  install: yes.default(false),
  installTable: wholeNumber(1, 0xffff_ffff).optional(),
  redistribute: z
    .array(z.enum(redistributeKinds, { error: `is none of ${redistributeKinds.join(", ")}` }))
    .max(3)
    .default([]),
  requirePolicy: yes.default(true),
  restartTime: durationOrNone.default(120_000),
  longLivedTime: durationOrNone.default(0),
  selectionDeferral: durationSchema.optional(),
  staleAfterEnd: durationSchema.optional(),
  exportTargets: z.array(routeTargetSchema).max(64).default([]),
  importTargets: z.array(routeTargetSchema).max(64).default([]),
  wantAllTargets: yes.optional(),
  groups: z.record(labelSchema, groupSchema).default({}),
  neighbors: z.array(neighborSchema).max(10_000).default([]),
  dynamicNeighbors: z.array(dynamicSchema).max(256).default([]),
  policies: z.record(labelSchema, policySchema).default({}),
} as const;

type Report = (field: string, value: string, problem: string) => void;

/** neighborOptions returns what a neighbor is configured with, its group's fields included. */
export function neighborOptions(router: BgpRouter, neighbor: Neighbor): NeighborOptions {
  const { address: _, interface: __, group, ...own } = neighbor;
  return group === undefined ? own : { ...router.groups[group], ...own };
}

/** neighborName is how people and the command line call a neighbor: its address, with `%link` or the link alone. */
export function neighborName(neighbor: Pick<Neighbor, "address" | "interface">): string {
  if (neighbor.address === undefined) return neighbor.interface ?? "";
  const text = formatIp(neighbor.address);
  return neighbor.interface === undefined ? text : `${text}%${neighbor.interface}`;
}

/** bgpRouterFromSpec joins name and spec, and reports what does not fit together. */
export function bgpRouterFromSpec(
  name: string,
  spec: z.output<z.ZodObject<typeof bgpRouterFields>>,
  report: Report,
): BgpRouter {
  const { clusterId, namespace, evpn, installTable, wantAllTargets, ...fields } = spec;
  const { restartTime, longLivedTime, selectionDeferral, staleAfterEnd, ...rest } = fields;
  const router: BgpRouter = {
    name,
    ...rest,
    ...(clusterId === undefined ? {} : { clusterId }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(evpn === undefined ? {} : { evpn }),
    ...(installTable === undefined ? {} : { installTable }),
    redistribute: redistributeKinds.filter((kind) => rest.redistribute.includes(kind)),
    restartMs: restartTime,
    longLivedMs: longLivedTime,
    ...(wantAllTargets === undefined ? {} : { wantAllTargets }),
    ...(selectionDeferral === undefined ? {} : { deferralMs: selectionDeferral }),
    ...(staleAfterEnd === undefined ? {} : { sweepMs: staleAfterEnd }),
  };
  if (evpn !== undefined) evpnProblems(evpn, report);
  if (router.routerId.value === 0n)
    report("spec.routerId", "0.0.0.0", "is no identifier; write an address of this router (RFC 6286)");
  // RFC 4724 section 3: 12 bits of seconds; RFC 9494 section 3: 24 bits.
  if (restartTime > 4_095_000)
    report(
      "spec.restartTime",
      formatDurationMs(restartTime),
      "does not fit the message; write 4095s or less",
    );
  if (longLivedTime > 0xffffff * 1000)
    report(
      "spec.longLivedTime",
      formatDurationMs(longLivedTime),
      "does not fit the message; write 194d or less",
    );
  // Table 255 (local) is the kernel's own.
  if (installTable === 255)
    report("spec.installTable", "255", "is the kernel's table of own addresses; write another one");
  if (installTable !== undefined && !router.install && router.redistribute.length === 0)
    report("spec.installTable", String(installTable), "changes nothing by itself; add install: true");
  const other = router.listen.find(({ port }) => port !== router.listen[0]?.port);
  if (other !== undefined)
    report("spec.listen", formatEndpoint(other), "has another port than the first; write one port for all");
  const seen = new Set<string>();
  router.neighbors.forEach((neighbor, i) => {
    const field = `spec.neighbors[${i}]`;
    const called = neighborName(neighbor);
    if (called === "")
      report(field, "", "names no neighbor; add address, or interface for an unnumbered one");
    if (seen.has(called)) report(field, called, "is there twice; keep one");
    seen.add(called);
    if (neighbor.group !== undefined && router.groups[neighbor.group] === undefined)
      report(`${field}.group`, neighbor.group, "is no group; add it to spec.groups");
    else checkOptions(router, neighborOptions(router, neighbor), field, report);
  });
  router.dynamicNeighbors.forEach(({ group }, i) => {
    const options = router.groups[group];
    const field = `spec.dynamicNeighbors[${i}].group`;
    if (options === undefined) report(field, group, "is no group; add it to spec.groups");
    else checkOptions(router, options, `spec.groups.${group}`, report);
  });
  return router;
}

function checkOptions(router: BgpRouter, options: NeighborOptions, field: string, report: Report): void {
  if (options.asn === undefined) report(`${field}.asn`, "", "is missing; add it, here or in the group");
  const names = Object.keys(options.families ?? {});
  if (names.length === 0)
    report(
      `${field}.families`,
      "",
      `names no family; write {ipv4-unicast: {}}, of ${bgpFamilies.join(", ")}`,
    );
  for (const [family, { import: from, export: to }] of Object.entries(options.families ?? {}))
    for (const [which, policy] of [
      ["import", from],
      ["export", to],
    ] as const)
      if (policy !== undefined && router.policies[policy] === undefined)
        report(`${field}.families.${family}.${which}`, policy, "is no policy; add it to spec.policies");
  const internal = options.asn === "internal" || options.asn === router.asn;
  if (options.routeReflectorClient === true && !internal)
    report(`${field}.routeReflectorClient`, "true", "is for internal neighbors only; remove it (RFC 4456)");
  for (const [family, { routeReflectorClient }] of Object.entries(options.families ?? {}))
    if (routeReflectorClient === true && !internal)
      report(
        `${field}.families.${family}.routeReflectorClient`,
        "true",
        "is for internal neighbors only; remove it (RFC 4456)",
      );
  if (options.bfd?.minimumTtl !== undefined && options.multihop === undefined)
    report(
      `${field}.bfd.minimumTtl`,
      String(options.bfd.minimumTtl),
      "is for neighbors with multihop; others have to be on the link (RFC 5881 section 5)",
    );
  if (options.multihop !== undefined && options.ttlSecurity !== undefined)
    report(
      `${field}.multihop`,
      String(options.multihop),
      "cannot stand beside ttlSecurity; keep one (RFC 5082)",
    );
  if (options.holdMs !== undefined && (options.holdMs < 3000 || options.holdMs > 65_535_000))
    report(
      `${field}.hold`,
      formatDurationMs(options.holdMs),
      "is not from 3s to 65535s (RFC 4271 section 4.2)",
    );
}

const mapped = <V>(record: Readonly<Record<string, V>>, to: (value: V) => Json): Json =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, to(value)]));

/** bgpRouterSpec returns the fields of `spec` as JSON. */
export function bgpRouterSpec(router: BgpRouter): { readonly [field: string]: Json } {
  const duration = (ms: number): Json => (ms === 0 ? 0 : formatDurationMs(ms));
  return present({
    asn: router.asn,
    routerId: formatIp(router.routerId),
    clusterId: router.clusterId && formatIp(router.clusterId),
    namespace: router.namespace,
    listen: router.listen.map(formatEndpoint),
    networks: router.networks.map(formatPrefix),
    evpn: router.evpn && evpnJson(router.evpn),
    maximumPaths: router.maximumPaths,
    alwaysCompareMed: router.alwaysCompareMed,
    install: router.install,
    installTable: router.installTable,
    redistribute: [...router.redistribute],
    requirePolicy: router.requirePolicy,
    restartTime: duration(router.restartMs),
    longLivedTime: duration(router.longLivedMs),
    selectionDeferral: router.deferralMs === undefined ? undefined : duration(router.deferralMs),
    staleAfterEnd: router.sweepMs === undefined ? undefined : duration(router.sweepMs),
    exportTargets: [...router.exportTargets],
    importTargets: [...router.importTargets],
    wantAllTargets: router.wantAllTargets,
    groups: mapped(router.groups, optionsJson),
    neighbors: router.neighbors.map(neighborJson),
    dynamicNeighbors: router.dynamicNeighbors.map(dynamicJson),
    policies: mapped(router.policies, policyJson),
  });
}

/** bgpRouterExample is a manifest for the documentation, tested to be valid. */
export const bgpRouterExample = `apiVersion: causeway.network/v1alpha1
kind: BgpRouter
metadata:
  name: fabric
spec:
  asn: 65010
  routerId: 10.0.0.1
  networks: [10.1.0.0/16]
  maximumPaths: 4
  groups:
    clients:
      asn: internal
      routeReflectorClient: true
      families: {l2vpn-evpn: {}}
  neighbors:
    - interface: eth1           # unnumbered: found by router advertisements
      asn: external
      bfd: {}                   # 300 ms, three times; default
      families:
        ipv4-unicast: {import: from-leaf, export: to-leaf}
    - address: 10.0.0.2
      group: clients
  dynamicNeighbors:
    - {prefix: 10.0.1.0/24, group: clients}
  policies:
    from-leaf:
      - match: {prefix: ["10.0.0.0/8 le 24"]}
        set: {localPreference: 200}
        action: accept
    to-leaf:
      - match: {prefix: [10.1.0.0/16]}
        action: accept
`;
