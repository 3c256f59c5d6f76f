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
import {
  endpointSchema,
  ipSchema,
  prefixSchema,
  publicKeySchema,
  siteSchema,
  wholeNumber,
} from "./scalars.ts";

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
  /** Where the node says that it can be reached from anywhere. */
  readonly endpoints: readonly Endpoint[];
  /** Where the hub sees the node's packets come from. */
  readonly observed?: Endpoint;
  /** The node's own addresses with its port, as it sees them. */
  readonly local: readonly Endpoint[];
  /** MTU of the node's tunnel. */
  readonly mtuBytes?: number;
  /** Data centre or home; for people and for later features. */
  readonly site?: string;
}

/** The fields of `spec`. */
export const nodeFields = {
  publicKey: publicKeySchema,
  hub: z.boolean({ error: "is not true or false" }).default(false),
  overlay4: ipSchema(4),
  overlay6: ipSchema(6),
  pods4: prefixSchema(4).optional(),
  pods6: prefixSchema(6).optional(),
  endpoints: z.array(endpointSchema).max(8).default([]),
  site: siteSchema.optional(),
} as const;

/** The fields of `status`: what was found, not what was asked for. */
export const nodeStatusFields = {
  observed: endpointSchema.optional(),
  local: z.array(endpointSchema).max(16).default([]),
  mtuBytes: wholeNumber(1280, 65535).optional(),
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
    endpoints: node.endpoints.map(formatEndpoint),
    site: node.site,
  });
}

/** nodeStatus returns the fields of `status` as JSON. */
export function nodeStatus(node: Node): { readonly [field: string]: Json } {
  return present({
    observed: node.observed && formatEndpoint(node.observed),
    local: node.local.map(formatEndpoint),
    mtuBytes: node.mtuBytes,
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
