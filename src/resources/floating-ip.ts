/** FloatingIP: an outside address that is one pod's, both ways (1:1 NAT). */
import { z } from "zod";
import { formatIp, type Ip } from "../net/mod.ts";
import type { Json } from "./canonical.ts";
import { addressSchema } from "./scalars.ts";

/** FloatingIp is an address of the outside, as the resource of kind FloatingIP says it. */
export interface FloatingIp {
  readonly name: string;
  readonly address: Ip;
  /** NatGateway on whose nodes it is. */
  readonly gateway: string;
  /** Address in the gateway's VPC, of the same family. */
  readonly target: Ip;
}

/** The fields of `spec`. */
export const floatingIpFields = {
  address: addressSchema,
  gateway: z.string().min(1).max(253),
  target: addressSchema,
} as const;

/** floatingIpFromSpec joins name and spec, and reports what does not fit together. */
export function floatingIpFromSpec(
  name: string,
  spec: z.output<z.ZodObject<typeof floatingIpFields>>,
  report: (field: string, value: string, problem: string) => void,
): FloatingIp {
  if (spec.address.family !== spec.target.family)
    report(
      "spec.target",
      formatIp(spec.target),
      `is of another family than spec.address; write one of IPv${spec.address.family}`,
    );
  return { name, ...spec };
}

/** floatingIpSpec returns the fields of `spec` as JSON. */
export function floatingIpSpec({ address, gateway, target }: FloatingIp): { readonly [field: string]: Json } {
  return { address: formatIp(address), gateway, target: formatIp(target) };
}

/** floatingIpExample is a manifest for the documentation, tested to be valid. */
export const floatingIpExample = `apiVersion: causeway.network/v1alpha1
kind: FloatingIP
metadata:
  name: team-a-web
spec:
  address: 203.0.113.21
  gateway: team-a-out      # the NatGateway on whose nodes it is
  target: 10.1.0.200       # in the gateway's VPC
`;
