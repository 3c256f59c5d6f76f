/** Route targets of VPCs and Subnets: the given ones, or the automatic one. */
import type { Subnet, Vpc } from "../resources/mod.ts";
import type { DomainTargets } from "./model.ts";

/** autoTarget returns the route target that a VNI has by itself: `ASN:VNI`, of a wide AS number the low 16 bits (RFC 8365 section 5.1.2.1, as FRR has it). */
export function autoTarget(asn: number, vni: number): string {
  return `${asn & 0xffff}:${vni}`;
}

/** targetsOf returns what a VPC (its L3VNI) or a Subnet (its L2VNI) imports and exports; the VNI is there in all that the register has. */
export function targetsOf(
  of: Pick<Vpc | Subnet, "vni" | "importTargets" | "exportTargets">,
  asn: number,
): DomainTargets {
  const auto = [autoTarget(asn, of.vni as number)];
  return { importTargets: of.importTargets ?? auto, exportTargets: of.exportTargets ?? auto };
}
