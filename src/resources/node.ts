/**
 * Node: one machine of the mesh. Addresses and pod ranges are given by the hub's register, once, and never change.
 */
import { z } from "zod";
import {
  type Endpoint,
  formatEndpoint,
  formatIp,
  formatPrefix,
  type Ip,
  type Prefix,
  type PublicKey,
} from "../net/mod.ts";
import { type Json, present } from "./canonical.ts";
import { type NodeLabels, nodeLabelsSchema } from "./node-labels.ts";
import {
  endpointSchema,
  hostPortSchema,
  ipSchema,
  labelSchema,
  prefixSchema,
  publicKeySchema,
  siteSchema,
  wholeNumber,
} from "./scalars.ts";

/** Observation is where one hub sees a node. */
export interface Observation {
  readonly hub: string;
  readonly endpoint: Endpoint;
}

/** HubDistance is a hub that a node reaches. */
export interface HubDistance {
  readonly hub: string;
  readonly rttMs: number;
  /** The largest IP packet that gets there unfragmented; absent while it is not found. */
  readonly mtuBytes?: number;
}

/** Node is one member of the mesh. */
export interface Node {
  readonly name: string;
  readonly publicKey: PublicKey;
  /** Keeps the register, relays, observes. */
  readonly hub: boolean;
  readonly overlay4: Ip;
  readonly overlay6: Ip;
  /** The node's part of the default pod network. */
  readonly pods4?: Prefix;
  readonly pods6?: Prefix;
  /** Networks behind the node that were approved at a hub. */
  readonly subnets?: readonly Prefix[];
  /** Where the node says that it can be reached from anywhere: `host:port`, name or address. */
  readonly endpoints: readonly string[];
  /** Where hubs see the node's packets come from. */
  readonly observed: readonly Observation[];
  /** What the node's router forwards to it (NAT-PMP, PCP, UPnP-IGD). */
  readonly mapped: readonly Endpoint[];
  /** Hubs that the node reaches, and how far they are. */
  readonly hubs: readonly HubDistance[];
  /** The node's own addresses with its port, as it sees them. */
  readonly local: readonly Endpoint[];
  /** MTU of the node's tunnel. */
  readonly mtuBytes?: number;
  /** Networks behind the node, as it says; those that were approved are in `subnets`. */
  readonly announced?: readonly Prefix[];
  /** Of a hub that takes TLS: by which its key is known, base64 of the SHA-256 of the public key. Absent: by its name, in the certificate of an authority. */
  readonly tlsPin?: string;
  /** Data centre or home; bound by the token where rules name it. */
  readonly site?: string;
  /** What its token made it; rules name it. Absent: see nodeRole. */
  readonly role?: string;
  /** What selections of nodes look at, set at a hub or by a cluster's controller; absent: none. */
  readonly labels?: NodeLabels;
  /** The key that is about to take the place of publicKey. */
  readonly nextPublicKey?: PublicKey;
}

/** nodeRole returns the role that rules see: what the token gave, or `hub` or `node`. */
export function nodeRole(node: Pick<Node, "role" | "hub">): string {
  return node.role ?? (node.hub ? "hub" : "node");
}

/** The fields of `spec`. */
export const nodeFields = {
  publicKey: publicKeySchema,
  hub: z.boolean({ error: "is not true or false" }).default(false),
  overlay4: ipSchema(4),
  overlay6: ipSchema(6),
  pods4: prefixSchema(4).optional(),
  pods6: prefixSchema(6).optional(),
  subnets: z.array(prefixSchema()).max(64).optional(),
  endpoints: z.array(hostPortSchema).max(8).default([]),
  site: siteSchema.optional(),
  role: labelSchema.optional(),
  labels: nodeLabelsSchema.optional(),
  nextPublicKey: publicKeySchema.optional(),
} as const;

/** hubDistanceSchema reads a HubDistance. */
export const hubDistanceSchema: z.ZodType<HubDistance> = z.object({
  hub: z.string().min(1).max(253),
  rttMs: z.number().min(0).max(60_000),
  mtuBytes: wholeNumber(576, 65535).exactOptional(),
});

/** tlsPinSchema reads the hash of a key. */
export const tlsPinSchema = z.string().regex(/^[A-Za-z0-9+/]{43}=$/, "is not a SHA-256 in base64");

/** The fields of `status`: what was found, not what was asked for. */
export const nodeStatusFields = {
  observed: z
    .array(z.object({ hub: z.string().min(1).max(253), endpoint: endpointSchema }))
    .max(64)
    .default([]),
  mapped: z.array(endpointSchema).max(8).default([]),
  hubs: z.array(hubDistanceSchema).max(16).default([]),
  local: z.array(endpointSchema).max(16).default([]),
  mtuBytes: wholeNumber(1280, 65535).optional(),
  announced: z.array(prefixSchema()).max(64).optional(),
  tlsPin: tlsPinSchema.optional(),
} as const;

type NodeSpec = z.output<z.ZodObject<typeof nodeFields>>;
type NodeStatus = z.output<z.ZodObject<typeof nodeStatusFields>>;

/** nodeFromSpec joins name, spec and status. */
export function nodeFromSpec(name: string, spec: NodeSpec, status: NodeStatus): Node {
  const fields = { name, ...spec, ...status };
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as never as Node;
}

/** nodeSpec returns the fields of `spec` as JSON. */
export function nodeSpec(node: Node): { readonly [field: string]: Json } {
  return present({
    publicKey: node.publicKey,
    hub: node.hub,
    overlay4: formatIp(node.overlay4),
    overlay6: formatIp(node.overlay6),
    pods4: node.pods4 && formatPrefix(node.pods4),
    pods6: node.pods6 && formatPrefix(node.pods6),
    subnets: node.subnets?.map(formatPrefix),
    endpoints: [...node.endpoints],
    site: node.site,
    role: node.role,
    labels: node.labels && { ...node.labels },
    nextPublicKey: node.nextPublicKey,
  });
}

/** nodeStatus returns the fields of `status` as JSON. */
export function nodeStatus(node: Node): { readonly [field: string]: Json } {
  return present({
    observed: node.observed.map(({ hub, endpoint }) => ({ hub, endpoint: formatEndpoint(endpoint) })),
    mapped: node.mapped.map(formatEndpoint),
    hubs: node.hubs.map((one) => ({ ...one })),
    local: node.local.map(formatEndpoint),
    mtuBytes: node.mtuBytes,
    announced: node.announced?.map(formatPrefix),
    tlsPin: node.tlsPin,
  });
}

/** nodeExample is a manifest for the documentation, tested to be valid. */
export const nodeExample = `apiVersion: causeway.network/v1alpha1
kind: Node
metadata:
  name: attic
spec:
  publicKey: HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=
  overlay4: 10.90.0.2
  overlay6: fd3a:1c07:5e22::2
  pods4: 10.244.1.0/24
  pods6: fd3a:1c07:5e22:101::/64
  endpoints: ["203.0.113.7:51820"]   # only if reachable from anywhere
  site: home
`;
