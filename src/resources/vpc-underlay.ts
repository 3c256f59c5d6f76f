/** What a VPC has at the edge: its place in a fabric, what it announces and takes there, and what it shares with other VPCs. */
import { z } from "zod";
import { formatPrefix, type Prefix, prefixEqual } from "../net/mod.ts";
import {
  type PolicyRule,
  policyJson,
  policySchema,
  type PrefixRange,
  routeTargetSchema,
} from "./bgp-policy.ts";
import { formatPrefixRange, parsePrefixRange } from "./bgp-policy.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { edgeSelectorJson, edgeSelectorSchema, type EdgeSelector } from "./edge-selector.ts";
import { labelSchema, prefixSchema, textValue, wholeNumber } from "./scalars.ts";
import { checkRoutes, type StaticRoute, staticRoutesJson, staticRoutesSchema } from "./static-route.ts";
import { DEFAULT_ROUTER } from "./underlay.ts";

/** Leak lets a VPC have routes of another one. One direction: the other says its own. Identity: from. */
export interface Leak {
  readonly from: string;
  /** Which routes; empty: all. */
  readonly prefixes: readonly PrefixRange[];
}

/** VpcUnderlay terminates a VPC in the fabric, on nodes whose router is there. */
export interface VpcUnderlay {
  /** Underlay.router. */
  readonly router: string;
  readonly nodes?: EdgeSelector;
  /** Of the tunnel endpoint; absent: what there is, IPv4 first. */
  readonly family?: 4 | 6;
  /** UDP port of VXLAN of the L3VNI; absent: 4789. */
  readonly port?: number;
  /** Route distinguisher; absent: the router's identifier with a number. */
  readonly rd?: string;
  /** Networks that are announced as they stand here (type 5). */
  readonly announce: readonly Prefix[];
  /** Whether networks of Subnets with a gateway are announced by every node that has them. */
  readonly subnets: boolean;
  /** Whether addresses of Subnets are announced one by one, by the node that has them. */
  readonly hosts: boolean;
  /** Which routes are taken from and given to the fabric; absent: all. What no rule decides is rejected. */
  readonly import?: readonly PolicyRule[];
  readonly export?: readonly PolicyRule[];
  readonly routes: readonly StaticRoute[];
  readonly leaks: readonly Leak[];
}

const yes = z.boolean({ error: "is not true or false" });

/** familySchema reads the family of a tunnel endpoint. */
export const familySchema = z.union([z.literal(4), z.literal(6)], { error: "is neither 4 nor 6" });

/** vpcUnderlaySchema reads it. */
export const vpcUnderlaySchema = z
  .strictObject(
    {
      router: labelSchema.default(DEFAULT_ROUTER),
      nodes: edgeSelectorSchema.optional(),
      family: familySchema.optional(),
      port: wholeNumber(1, 65535).optional(),
      rd: routeTargetSchema.optional(),
      announce: z.array(prefixSchema()).max(1024).default([]),
      subnets: yes.default(true),
      hosts: yes.default(false),
      import: policySchema.optional(),
      export: policySchema.optional(),
      routes: staticRoutesSchema.default([]),
      leaks: z
        .array(
          z.strictObject(
            {
              from: z.string().min(1).max(253),
              prefixes: z
                .array(textValue<PrefixRange>("a prefix such as 10.0.0.0/8 le 24", parsePrefixRange))
                .max(1024)
                .default([]),
            },
            { error: "is not a leak; write {from: shared, prefixes: [10.9.0.0/16 le 32]}" },
          ),
        )
        .max(256)
        .default([]),
    },
    { error: "is not a place in a fabric; write {}, or {router: underlay, nodes: {…}}" },
  )
  .transform((given): VpcUnderlay => withoutAbsent(given));

/** checkVpcUnderlay reports what cannot be. */
export function checkVpcUnderlay(
  { name, routed }: { readonly name: string; readonly routed: boolean },
  underlay: VpcUnderlay,
  report: (field: string, value: string, problem: string) => void,
): void {
  checkRoutes("spec.underlay.routes", underlay.routes, report);
  underlay.announce.forEach((prefix, i) => {
    if (underlay.announce.slice(0, i).some((other) => prefixEqual(other, prefix)))
      report(`spec.underlay.announce[${i}]`, formatPrefix(prefix), "is there twice; keep one");
  });
  underlay.leaks.forEach(({ from }, i) => {
    if (from === name) report(`spec.underlay.leaks[${i}].from`, from, "is this VPC; name another");
    if (underlay.leaks.slice(0, i).some((other) => other.from === from))
      report(`spec.underlay.leaks[${i}].from`, from, "is there twice; write its prefixes together");
  });
  if (routed) return;
  for (const field of ["announce", "routes", "leaks"] as const)
    if (underlay[field].length > 0)
      report(`spec.underlay.${field}`, "", "changes nothing where nothing is routed; remove it");
  for (const field of ["import", "export", "rd", "port"] as const)
    if (underlay[field] !== undefined)
      report(`spec.underlay.${field}`, "", "changes nothing where nothing is routed; remove it");
}

/** vpcUnderlayJson undoes vpcUnderlaySchema. */
export function vpcUnderlayJson(underlay: VpcUnderlay): { readonly [field: string]: Json } {
  const { announce, leaks } = underlay;
  return present({
    router: underlay.router,
    nodes: underlay.nodes && edgeSelectorJson(underlay.nodes),
    family: underlay.family,
    port: underlay.port,
    rd: underlay.rd,
    announce: announce.length === 0 ? undefined : announce.map(formatPrefix),
    subnets: underlay.subnets,
    hosts: underlay.hosts,
    import: underlay.import && policyJson(underlay.import),
    export: underlay.export && policyJson(underlay.export),
    routes: staticRoutesJson(underlay.routes),
    leaks:
      leaks.length === 0
        ? undefined
        : leaks.map(({ from, prefixes }) =>
            present({ from, prefixes: prefixes.length === 0 ? undefined : prefixes.map(formatPrefixRange) }),
          ),
  });
}
