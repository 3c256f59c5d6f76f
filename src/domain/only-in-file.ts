/**
 * What only files of this node have, and pods cannot be attached to: an address is given once, however many nodes there are, and only the register knows
 * which have been. It would not know of those that a node gave by itself, and give them again once it has the Subnet too.
 */
import { type TenantResource, type TenantResources, tenantsOf } from "../resources/mod.ts";
import type { SegmentWish } from "./resolve.ts";

/** onlyInFile says why a pod cannot have what it wishes where `files` have that and the register does not; undefined in all other cases. */
export function onlyInFile(
  { vpc, subnet, vni }: Pick<SegmentWish, "vpc" | "subnet" | "vni">,
  { files, register }: { readonly files: readonly TenantResource[]; readonly register: TenantResources },
): string | undefined {
  if (files.length === 0) return undefined;
  const { VPC, Subnet } = tenantsOf(files);
  const subnets = [...Subnet.values()].filter(({ name }) => !register.Subnet.has(name));
  const known = [...register.Subnet.values(), ...register.VPC.values()];
  // What the register has under that VNI is meant, whatever a file calls so.
  const isMeant = (one: { readonly vpc: string; readonly vni?: number | undefined }) =>
    vni !== undefined &&
    one.vni === vni &&
    (vpc === undefined || one.vpc === vpc) &&
    !known.some((other) => other.vni === vni);
  const found =
    subnets.find((one) => one.name === subnet || isMeant(one)) ??
    [...VPC.values()]
      .filter(({ name }) => !register.VPC.has(name))
      .map((one) => ({ vpc: one.name, vni: one.vni }))
      .find((one) => one.vpc === vpc || isMeant(one));
  if (found === undefined) return undefined;
  const what = "name" in found ? `Subnet ${found.name} of VPC ${found.vpc}` : `VPC ${found.vpc}`;
  return `${what} is only in a file on this node, and the register gives pods their addresses; apply VPC and Subnet there too, as they are in the file: causeway apply -f FILE`;
}
