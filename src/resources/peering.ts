/** Peering: two VPCs that reach networks of each other. */
import { z } from "zod";
import { formatPrefix, type Prefix } from "../net/mod.ts";
import { type Json, present } from "./canonical.ts";
import { prefixSchema } from "./scalars.ts";

/** Peering joins two VPCs, as the resource of kind Peering says it. */
export interface Peering {
  readonly name: string;
  readonly vpcs: readonly [string, string];
  /** By name of a VPC: which of its networks the other one reaches. Absent: those of all its subnets. */
  readonly prefixes: Readonly<Record<string, readonly Prefix[]>>;
}

const vpcName = z.string().min(1).max(253);

/** The fields of `spec`. */
export const peeringFields = {
  vpcs: z.tuple([vpcName, vpcName], { error: "does not name two VPCs; write [team-a, team-b]" }),
  prefixes: z
    .record(vpcName, z.array(prefixSchema()).min(1, "names no network; leave it out for all").max(256))
    .default({}),
} as const;

/** peeringFromSpec joins name and spec, and reports what does not fit together. */
export function peeringFromSpec(
  name: string,
  spec: z.output<z.ZodObject<typeof peeringFields>>,
  report: (field: string, value: string, problem: string) => void,
): Peering {
  const [a, b] = spec.vpcs;
  if (a === b) report("spec.vpcs", `${a}, ${b}`, "names one VPC twice; name two");
  for (const vpc of Object.keys(spec.prefixes))
    if (vpc !== a && vpc !== b)
      report(`spec.prefixes.${vpc}`, "", `is not of these VPCs; write ${a} or ${b}`);
  return { name, ...spec };
}

/** peeredPrefixes returns which networks of a VPC the other one reaches; undefined: all. A VPC may be named `constructor`. */
export function peeredPrefixes({ prefixes }: Peering, vpc: string): readonly Prefix[] | undefined {
  return Object.hasOwn(prefixes, vpc) ? prefixes[vpc] : undefined;
}

/** peeringSpec returns the fields of `spec` as JSON. */
export function peeringSpec({ vpcs, prefixes }: Peering): { readonly [field: string]: Json } {
  const entries = Object.entries(prefixes).map(([vpc, list]) => [vpc, list.map(formatPrefix)] as const);
  return present({
    vpcs: [...vpcs],
    prefixes: entries.length === 0 ? undefined : Object.fromEntries(entries),
  });
}

/** peeringExample is a manifest for the documentation, tested to be valid. */
export const peeringExample = `apiVersion: causeway.network/v1alpha1
kind: Peering
metadata:
  name: team-a-storage
spec:
  vpcs: [team-a, storage]
  prefixes:                   # what of each the other reaches; default: all
    storage: [10.9.0.0/28]
`;
