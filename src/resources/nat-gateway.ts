/** NatGateway: source NAT of a VPC to the outside, on chosen nodes. */
import { z } from "zod";
import { formatIp, formatPrefix, type Ip, ipEqual, type Prefix } from "../net/mod.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { type NodeSelector, selectorJson, selectorSchema } from "./rules.ts";
import { addressSchema, prefixSchema } from "./scalars.ts";

/** NatGateway is a VPC's way out, as the resource of kind NatGateway says it. */
export interface NatGateway {
  readonly name: string;
  readonly vpc: string;
  /** Which nodes it is on; two or more for availability. */
  readonly nodes: NodeSelector;
  /** Who may use it; absent: all of the VPC's subnets. */
  readonly prefixes?: readonly Prefix[];
  /** What its packets come from, at most one of a family; empty: the node's own address. */
  readonly externalAddresses: readonly Ip[];
}

/** The fields of `spec`. */
export const natGatewayFields = {
  vpc: z.string().min(1).max(253),
  nodes: selectorSchema,
  prefixes: z
    .array(prefixSchema())
    .min(1, "names no network; leave the field out for all")
    .max(256)
    .optional(),
  externalAddresses: z.array(addressSchema).max(2).default([]),
} as const;

/** natGatewayFromSpec joins name and spec, and reports what does not fit together. */
export function natGatewayFromSpec(
  name: string,
  spec: z.output<z.ZodObject<typeof natGatewayFields>>,
  report: (field: string, value: string, problem: string) => void,
): NatGateway {
  const [first, second] = spec.externalAddresses;
  if (first !== undefined && first.family === second?.family)
    report(
      "spec.externalAddresses[1]",
      formatIp(second),
      ipEqual(first, second) ? "is there twice; keep one" : `is the second of IPv${first.family}; keep one`,
    );
  return withoutAbsent({ name, ...spec });
}

/** natGatewaySpec returns the fields of `spec` as JSON. */
export function natGatewaySpec(gateway: NatGateway): { readonly [field: string]: Json } {
  const { vpc, nodes, prefixes, externalAddresses } = gateway;
  return present({
    vpc,
    nodes: selectorJson(nodes),
    prefixes: prefixes?.map(formatPrefix),
    externalAddresses: externalAddresses.length === 0 ? undefined : externalAddresses.map(formatIp),
  });
}

/** natGatewayExample is a manifest for the documentation, tested to be valid. */
export const natGatewayExample = `apiVersion: causeway.network/v1alpha1
kind: NatGateway
metadata:
  name: team-a-out
spec:
  vpc: team-a
  nodes: {node: [edge-1, edge-2]}      # or role, site; two for availability
  prefixes: [10.1.0.0/24]              # who may use it; default: the whole VPC
  externalAddresses: [203.0.113.20]    # default: the node's own address
`;
