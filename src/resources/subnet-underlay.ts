/** What a Subnet has at the edge: on which nodes of the fabric it is, and whether the host has a link in it. */
import { z } from "zod";
import { routeTargetSchema } from "./bgp-policy.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { edgeSelectorJson, edgeSelectorSchema, type EdgeSelector } from "./edge-selector.ts";
import { linkSchema } from "./scalars.ts";
import { familySchema } from "./vpc-underlay.ts";

/** SubnetUnderlay says more of a Subnet whose VPC is in a fabric. */
export interface SubnetUnderlay {
  /** Absent: where the VPC is. */
  readonly nodes?: EdgeSelector;
  /** Of the tunnel endpoint; absent: what there is, IPv4 first. */
  readonly family?: 4 | 6;
  readonly rd?: string;
}

/** HostBridge is a bridge of the host with a port in the Subnet. */
export interface HostBridge {
  /** Absent: derived; it is there where it is not ours. */
  readonly name?: string;
  /** Whether it is made and removed with the Subnet; otherwise it must be there. */
  readonly managed: boolean;
}

/** subnetUnderlaySchema reads it. */
export const subnetUnderlaySchema = z
  .strictObject(
    {
      nodes: edgeSelectorSchema.optional(),
      family: familySchema.optional(),
      rd: routeTargetSchema.optional(),
    },
    { error: "is not a place in a fabric; write {nodes: {…}}" },
  )
  .transform((given): SubnetUnderlay => withoutAbsent(given));

/** hostBridgeSchema reads a bridge. */
export const hostBridgeSchema = z
  .strictObject(
    { name: linkSchema.optional(), managed: z.boolean({ error: "is not true or false" }).default(true) },
    { error: "is not a bridge; write {} for one of ours, or {name: br0, managed: false}" },
  )
  .refine(
    ({ name, managed }) => managed || name !== undefined,
    "is not ours (managed: false), and has no name; write {name: br0, managed: false}",
  )
  .transform((given): HostBridge => withoutAbsent(given));

/** subnetUnderlayJson undoes subnetUnderlaySchema. */
export function subnetUnderlayJson({ nodes, family, rd }: SubnetUnderlay): {
  readonly [field: string]: Json;
} {
  return present({ nodes: nodes && edgeSelectorJson(nodes), family, rd });
}
