/**
 * Mesh: the one network of a cluster's nodes and its default pod network. Made by `causeway init`, kept by the hub.
 */
import { z } from "zod";
import {
  bitsOf,
  formatDurationMs,
  formatIp,
  formatPrefix,
  formatRateBits,
  type Ip,
  NOT_HOSTS,
  parsePrefix,
  type Prefix,
  prefixAddress,
  prefixesOverlap,
  prefixOf,
  type SigningKey,
  subnet,
} from "../net/mod.ts";
import { randomBytes } from "../sys/mod.ts";
import { type Json, present } from "./canonical.ts";
import { nodeBitsProblem } from "./node-bits.ts";
import { type Rule, rulesJson, rulesSchema } from "./rules.ts";
import {
  addressSchema,
  durationSchema,
  type ExposedPort,
  exposedPortSchema,
  formatExposedPort,
  hostPortSchema,
  linkSchema,
  labelSchema,
  prefixSchema,
  rateSchema,
  signingKeySchema,
  wholeNumber,
} from "./scalars.ts";
import { checkVteps, type OutsideVtep, vtepsJson, vtepsSchema } from "./vtep.ts";

/** topologies are the modes of a mesh. */
export const topologies = ["full-mesh", "hubs-only", "on-demand"] as const;

/** Topology is one of them. */
export type Topology = (typeof topologies)[number];

/** CLUSTER_BGP_PORT is where route reflectors of the mesh are called, TCP on their overlay addresses. */
export const CLUSTER_BGP_PORT = 1179;

/** Reflectors say who tells nodes of the VPCs of others (RFC 4456): one of the two. */
export type Reflectors =
  /** Nodes of these roles. */
  | { readonly roles: readonly string[] }
  /** Speakers that are no nodes, on port 179: FRR, for example. */
  | { readonly addresses: readonly Ip[] };

/** Mesh is the network that all nodes share. */
export interface Mesh {
  readonly name: string;
  /** Addresses of the nodes inside the tunnel. */
  readonly overlay4: Prefix;
  readonly overlay6: Prefix;
  /** Addresses of newcomers while they register; never a node's. */
  readonly enrol6: Prefix;
  /** The default pod network; absent: no pods of that family. */
  readonly pods4?: Prefix;
  readonly pods6?: Prefix;
  /** Bits after the pod network's prefix that number the nodes. */
  readonly nodeBits: number;
  /** Service networks of the cluster, which are not masqueraded. */
  readonly services: readonly Prefix[];
  /** The one UDP port, of the hub and by default of every node. */
  readonly listenPort: number;
  /** Where newcomers find the hub, best first: `host:port`, name or address; may differ from listenPort behind a port forward. */
  readonly endpoints: readonly string[];
  /** Ports of Causeway and the cluster that other interfaces than the tunnel may reach. */
  readonly exposedPorts: readonly ExposedPort[];
  /** MTU of the tunnel on every node; absent: from each node's underlay. */
  readonly mtuBytes?: number;
  /** TCP port on which hubs take the tunnel's datagrams over TLS, from nodes that UDP does not reach; absent: no TLS. */
  readonly tlsPort?: number;
  /** What a hub relays at most for each pair of nodes, both directions together; absent: as much as it can. */
  readonly relayBitsPerSecond?: number;
  /** Which pairs of nodes look for a direct path: all of them, none (all through a hub), or those that have traffic. */
  readonly topology: Topology;
  /** Which nodes may talk; absent: all. */
  readonly rules?: readonly Rule[];
  /** Node keys older than this are replaced; absent: only on request. */
  readonly keyMaxAgeMs?: number;
  /** Pairs have a pre-shared key beside their node keys. */
  readonly presharedKeys: boolean;
  /** A node that has not heard from a hub for so long talks to hubs only; absent: it goes on. */
  readonly snapshotMaxAgeMs?: number;
  /** Signs removals while all hubs are down; the private half is kept offline. */
  readonly operatorKey?: SigningKey;
  /** Whether VNIs from 1 to 4095 that no VPC or Subnet has are there for everybody, without a resource. */
  readonly openVnis: boolean;
  /** The link of each node that VXLAN goes over; absent: the overlay. */
  readonly vxlanLink?: string;
  /** AS number of the nodes' own BGP; the automatic route targets of VPCs have it. */
  readonly asn: number;
  /** Route reflectors of VPCs; absent: the hubs. */
  readonly reflectors?: Reflectors;
  /** VTEPs that are no nodes: nodes that reflect call them. */
  readonly vteps?: readonly OutsideVtep[];
}

/** randomUla returns a /48 with 40 random bits (RFC 4193, section 3.2). */
export function randomUla(): Prefix {
  let value = 0xfdn;
  for (const byte of randomBytes(5)) value = (value << 8n) | BigInt(byte);
  return { family: 6, value: value << 80n, length: 48 };
}

/** The first one for private use (RFC 6996). */
const DEFAULT_ASN = 64_512;

const reflectorsSchema = z
  .strictObject(
    {
      roles: z.array(labelSchema).min(1).max(16).optional(),
      addresses: z.array(addressSchema).min(1).max(16).optional(),
    },
    { error: "does not name reflectors; write {roles: [reflector]} or {addresses: [192.0.2.1]}" },
  )
  .refine(({ roles, addresses }) => (roles === undefined) !== (addresses === undefined), {
    error:
      "names both or none of roles and addresses; write {roles: [reflector]} or {addresses: [192.0.2.1]}",
  })
  .transform(({ roles, addresses = [] }): Reflectors => (roles === undefined ? { addresses } : { roles }));

function reflectorsJson(reflectors: Reflectors): Json {
  return "roles" in reflectors
    ? { roles: [...reflectors.roles] }
    : { addresses: reflectors.addresses.map(formatIp) };
}

/** The fields of `spec`. Prefixes of IPv6 that are absent are taken from the /48 of one that is given, or of a random one. */
export const meshFields = {
  overlay4: prefixSchema(4).default(parsePrefix("10.90.0.0/16")),
  overlay6: prefixSchema(6).optional(),
  enrol6: prefixSchema(6).optional(),
  pods4: prefixSchema(4).nullable().default(parsePrefix("10.244.0.0/16")),
  pods6: prefixSchema(6).nullable().optional(),
  nodeBits: wholeNumber(0, 30).default(8),
  services: z
    .array(prefixSchema())
    .max(8)
    .default([parsePrefix("10.96.0.0/12")]),
  listenPort: wholeNumber(1, 65535).default(51820),
  endpoints: z.array(hostPortSchema).min(1, "names no endpoint; add the hub's public host:port").max(8),
  exposedPorts: z.array(exposedPortSchema).max(64).default([]),
  mtuBytes: wholeNumber(1280, 65535).optional(),
  tlsPort: wholeNumber(1, 65535).optional(),
  relayRate: rateSchema.optional(),
  topology: z.enum(topologies, { error: `is none of ${topologies.join(", ")}` }).default("full-mesh"),
  rules: rulesSchema.optional(),
  keyMaxAge: durationSchema.optional(),
  presharedKeys: z.boolean({ error: "is not true or false" }).default(false),
  snapshotMaxAge: durationSchema.optional(),
  operatorKey: signingKeySchema.optional(),
  openVnis: z.boolean({ error: "is not true or false" }).default(true),
  vxlanLink: linkSchema.optional(),
  // Two octets: a route target then has four for the VNI.
  asn: wholeNumber(1, 65_534).default(DEFAULT_ASN),
  reflectors: reflectorsSchema.optional(),
  vteps: vtepsSchema.optional(),
} as const;

const DAY_MS = 86_400_000;

type MeshSpec = z.output<z.ZodObject<typeof meshFields>>;
type Report = (field: string, value: string, problem: string) => void;

/** meshFromSpec fills in what depends on other fields and reports what does not fit together. */
export function meshFromSpec(name: string, spec: MeshSpec, report: Report): Mesh {
  const given = spec.overlay6 ?? spec.enrol6 ?? spec.pods6;
  const ula =
    given === undefined || given === null || given.length < 48
      ? randomUla()
      : prefixOf(prefixAddress(given), 48);
  const pods6 = spec.pods6 === undefined ? subnet(ula, 56, 1n) : spec.pods6;
  const mesh: Mesh = {
    name,
    overlay4: spec.overlay4,
    overlay6: spec.overlay6 ?? subnet(ula, 64, 0n),
    enrol6: spec.enrol6 ?? subnet(ula, 64, 1n),
    ...(spec.pods4 === null ? {} : { pods4: spec.pods4 }),
    ...(pods6 === null ? {} : { pods6 }),
    nodeBits: spec.nodeBits,
    services: spec.services,
    listenPort: spec.listenPort,
    endpoints: spec.endpoints,
    exposedPorts: spec.exposedPorts,
    ...(spec.mtuBytes === undefined ? {} : { mtuBytes: spec.mtuBytes }),
    ...(spec.tlsPort === undefined ? {} : { tlsPort: spec.tlsPort }),
    ...(spec.relayRate === undefined ? {} : { relayBitsPerSecond: spec.relayRate }),
    topology: spec.topology,
    ...(spec.rules === undefined ? {} : { rules: spec.rules }),
    ...(spec.keyMaxAge === undefined ? {} : { keyMaxAgeMs: spec.keyMaxAge }),
    presharedKeys: spec.presharedKeys,
    ...(spec.snapshotMaxAge === undefined ? {} : { snapshotMaxAgeMs: spec.snapshotMaxAge }),
    ...(spec.operatorKey === undefined ? {} : { operatorKey: spec.operatorKey }),
    asn: spec.asn,
    openVnis: spec.openVnis,
    ...(spec.vxlanLink === undefined ? {} : { vxlanLink: spec.vxlanLink }),
    ...(spec.reflectors === undefined ? {} : { reflectors: spec.reflectors }),
    ...(spec.vteps === undefined ? {} : { vteps: spec.vteps }),
  };
  checkMesh(mesh, report);
  return mesh;
}

function checkMesh(mesh: Mesh, report: Report): void {
  const networks: [field: string, prefix: Prefix][] = [
    ["spec.overlay4", mesh.overlay4],
    ["spec.overlay6", mesh.overlay6],
    ["spec.enrol6", mesh.enrol6],
    ...(mesh.pods4 === undefined ? [] : [["spec.pods4", mesh.pods4] as [string, Prefix]]),
    ...(mesh.pods6 === undefined ? [] : [["spec.pods6", mesh.pods6] as [string, Prefix]]),
    ...mesh.services.map((prefix, i): [string, Prefix] => [`spec.services[${i}]`, prefix]),
  ];
  networks.forEach(([field, prefix], i) => {
    const forbidden = NOT_HOSTS.find((other) => prefixesOverlap(other, prefix));
    if (forbidden !== undefined)
      report(
        field,
        formatPrefix(prefix),
        `overlaps ${formatPrefix(forbidden)}, which is reserved; choose another network`,
      );
    for (const [otherField, other] of networks.slice(0, i))
      if (prefixesOverlap(other, prefix))
        report(
          field,
          formatPrefix(prefix),
          `overlaps ${otherField} ${formatPrefix(other)}; choose networks that share no address`,
        );
  });
  for (const field of ["overlay4", "overlay6"] as const) {
    const longest = bitsOf(mesh[field].family) - 2;
    if (mesh[field].length > longest)
      report(`spec.${field}`, formatPrefix(mesh[field]), `is too small for nodes; use /${longest} or larger`);
  }
  if (mesh.enrol6.length > 64)
    report("spec.enrol6", formatPrefix(mesh.enrol6), "is too small for newcomers; use a /64 or larger");
  // A day: a node that was switched off over night must not need attention.
  if (mesh.keyMaxAgeMs !== undefined && mesh.keyMaxAgeMs < DAY_MS)
    report("spec.keyMaxAge", formatDurationMs(mesh.keyMaxAgeMs), "is less than a day; write 1d or more");
  for (const pods of [mesh.pods4, mesh.pods6]) {
    const problem = pods === undefined ? undefined : nodeBitsProblem(pods, mesh.nodeBits);
    if (problem !== undefined) report("spec.nodeBits", String(mesh.nodeBits), problem);
  }
  checkVteps(mesh, report);
}

/** meshSpec returns the fields of `spec` as JSON, all of them written out. */
export function meshSpec(mesh: Mesh): { readonly [field: string]: Json } {
  return present({
    overlay4: formatPrefix(mesh.overlay4),
    overlay6: formatPrefix(mesh.overlay6),
    enrol6: formatPrefix(mesh.enrol6),
    pods4: mesh.pods4 === undefined ? null : formatPrefix(mesh.pods4),
    pods6: mesh.pods6 === undefined ? null : formatPrefix(mesh.pods6),
    nodeBits: mesh.nodeBits,
    services: mesh.services.map(formatPrefix),
    listenPort: mesh.listenPort,
    endpoints: [...mesh.endpoints],
    exposedPorts: mesh.exposedPorts.map(formatExposedPort),
    mtuBytes: mesh.mtuBytes,
    tlsPort: mesh.tlsPort,
    relayRate: mesh.relayBitsPerSecond === undefined ? undefined : formatRateBits(mesh.relayBitsPerSecond),
    topology: mesh.topology,
    rules: mesh.rules && rulesJson(mesh.rules),
    keyMaxAge: mesh.keyMaxAgeMs === undefined ? undefined : formatDurationMs(mesh.keyMaxAgeMs),
    presharedKeys: mesh.presharedKeys ? true : undefined,
    snapshotMaxAge: mesh.snapshotMaxAgeMs === undefined ? undefined : formatDurationMs(mesh.snapshotMaxAgeMs),
    operatorKey: mesh.operatorKey,
    asn: mesh.asn === DEFAULT_ASN ? undefined : mesh.asn,
    openVnis: mesh.openVnis ? undefined : false,
    vxlanLink: mesh.vxlanLink,
    reflectors: mesh.reflectors && reflectorsJson(mesh.reflectors),
    vteps: mesh.vteps && vtepsJson(mesh.vteps),
  });
}

/** meshExample is a manifest for the documentation, tested to be valid. */
export const meshExample = `apiVersion: causeway.network/v1alpha1
kind: Mesh
metadata:
  name: home
spec:
  overlay4: 10.90.0.0/16      # addresses of the nodes; default
  pods4: 10.244.0.0/16        # addresses of the pods; default
  nodeBits: 8                 # 2^8 nodes with a /24 each; default
  services: [10.96.0.0/12]    # never masqueraded; default
  listenPort: 51820           # the one UDP port; default
  endpoints: ["hub.example.com:51820"]
  exposedPorts: [tcp/443]     # default: none
  topology: full-mesh         # default; or hubs-only, on-demand
`;
