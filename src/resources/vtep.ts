/** VTEPs that are no nodes: switches and servers that take part in VPCs by BGP with EVPN, FRR for example. A field of Mesh. */
import { z } from "zod";
import { formatIp, formatPrefix, type Ip, ipEqual, type Prefix, prefixContains } from "../net/mod.ts";
import type { Json } from "./canonical.ts";
import { ipSchema, labelSchema } from "./scalars.ts";

/** MAX_VTEPS is how many there may be: reflectors have a session with each. */
export const MAX_VTEPS = 256;

/** OutsideVtep is one of them. Identity: name. */
export interface OutsideVtep {
  readonly name: string;
  /** IPv4: where route reflectors call it (TCP 179), what its route distinguishers begin with, and where VXLAN for it goes. */
  readonly address: Ip;
  /** Names of VPCs that it may serve; `*`: all. */
  readonly vpcs: readonly string[];
}

/** vtepsSchema reads them. */
export const vtepsSchema = z
  .array(
    z.strictObject({
      name: labelSchema,
      address: ipSchema(4),
      vpcs: z.array(z.string().min(1).max(253)).max(1024).default([]),
    }),
  )
  .min(1, "names no VTEP; leave it out")
  .max(MAX_VTEPS);

/** What else of a Mesh matters to them. */
interface Around {
  readonly overlay4: Prefix;
  readonly vteps?: readonly OutsideVtep[];
  readonly vxlanLink?: string;
  readonly reflectors?: object;
}

/** checkVteps reports what cannot be. */
export function checkVteps(
  { overlay4, vteps = [], vxlanLink, reflectors }: Around,
  report: (field: string, value: string, problem: string) => void,
): void {
  const [first] = vteps;
  if (first === undefined) return;
  if (vxlanLink === undefined)
    report("spec.vteps", first.name, "is not in the tunnel; name the nodes' link to it in vxlanLink");
  if (reflectors !== undefined && "addresses" in reflectors)
    report("spec.vteps", first.name, "has no session with nodes; configure it at reflectors.addresses");
  for (const [i, { name, address }] of vteps.entries()) {
    const others = vteps.slice(0, i);
    if (others.some((other) => other.name === name))
      report(`spec.vteps[${i}].name`, name, "is there twice; choose another");
    if (prefixContains(overlay4, address))
      report(
        `spec.vteps[${i}].address`,
        formatIp(address),
        `is in overlay4 ${formatPrefix(overlay4)}, where nodes are; write the one that VXLAN comes from`,
      );
    const same = others.find((other) => ipEqual(other.address, address));
    if (same !== undefined)
      report(`spec.vteps[${i}].address`, formatIp(address), `is that of ${same.name}; give each its own`);
  }
}

/** vtepsJson writes them as in `spec`. */
export function vtepsJson(vteps: readonly OutsideVtep[]): Json {
  return vteps.map(({ name, address, vpcs }) => ({ name, address: formatIp(address), vpcs: [...vpcs] }));
}
