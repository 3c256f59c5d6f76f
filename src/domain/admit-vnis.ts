/** VNIs of VPCs and Subnets: one number has one meaning, also between L2 and L3, since one UDP port of VXLAN carries all. */
import type { Subnet, TenantKind, TenantResource, TenantResources, Vpc } from "../resources/mod.ts";
import type { AdmitContext, Judged } from "./admit.ts";
import { MAX_OPEN_VNI } from "./compile.ts";
import { autoTarget } from "./targets.ts";
import { vxlanPortProblem } from "./vxlan-port.ts";

/** FIRST_VNI is the first that the register gives. */
export const FIRST_VNI = MAX_OPEN_VNI + 1;

/** RFC 7348 section 5: 24 bits. */
const LAST_VNI = 0xffffff;

/** VniOwner is a VPC or a Subnet. */
export interface VniOwner {
  readonly kind: Extract<TenantKind, "VPC" | "Subnet">;
  readonly value: Vpc | Subnet;
}

/** vniOwners returns all VPCs and Subnets. */
export function vniOwners(tenants: TenantResources): VniOwner[] {
  return [
    ...[...tenants.VPC.values()].map((value): VniOwner => ({ kind: "VPC", value })),
    ...[...tenants.Subnet.values()].map((value): VniOwner => ({ kind: "Subnet", value })),
  ];
}

/**
 * giveVnis gives VNIs to what has none, going on after the one that was given last: one that was freed is not used again soon, so that
 * routes which are still on their way mean nothing.
 */
export function giveVnis(
  after: TenantResources,
  set: readonly TenantResource[],
  { mesh, nextVni }: Pick<AdmitContext, "mesh" | "nextVni">,
): { readonly set: readonly TenantResource[]; readonly nextVni: number } {
  const owners = vniOwners(after);
  const taken = new Set(owners.map(({ value }) => value.vni));
  const targets = new Set(
    owners.flatMap(({ value }) => [...(value.importTargets ?? []), ...(value.exportTargets ?? [])]),
  );
  let next = nextVni;
  const free = (vni: number) => !taken.has(vni) && !targets.has(autoTarget(mesh.asn, vni));
  const give = () => {
    for (let tried = 0; tried <= LAST_VNI - FIRST_VNI; tried++) {
      const vni = next > LAST_VNI || next < FIRST_VNI ? FIRST_VNI : next;
      next = vni + 1;
      if (!free(vni)) continue;
      taken.add(vni);
      return vni;
    }
    return undefined;
  };
  const given = set.map((resource): TenantResource => {
    const { kind } = resource;
    if ((kind !== "VPC" && kind !== "Subnet") || resource.value.vni !== undefined) return resource;
    const vni = give();
    if (vni === undefined) return resource;
    return kind === "VPC"
      ? { kind, value: { ...resource.value, vni } }
      : { kind, value: { ...resource.value, vni } };
  });
  return { set: given, nextVni: next };
}

/** vniProblems reports VNIs that belong to somebody else. */
export function vniProblems({ after, change, report, mesh, before }: Judged): void {
  const owners = new Map<number, VniOwner[]>();
  for (const owner of vniOwners(after)) {
    const { vni } = owner.value;
    if (vni !== undefined) owners.set(vni, [...(owners.get(vni) ?? []), owner]);
  }
  for (const { kind, value } of change.set) {
    if (kind !== "VPC" && kind !== "Subnet") continue;
    const { vni, name } = value;
    if (vni === undefined) {
      report({ kind, name }, { field: "spec.vni", problem: "is missing, and none is free; delete others" });
      continue;
    }
    const port = kind === "Subnet" ? value.port : undefined;
    const portProblem = port === undefined ? undefined : vxlanPortProblem(port, mesh);
    if (portProblem !== undefined)
      report(
        { kind, name },
        {
          field: "spec.port",
          value: String(port),
          problem: `cannot carry VXLAN: ${portProblem}; choose another`,
        },
      );
    // Who is attached by the number alone would be in the tenant's network.
    const kept = kind === "VPC" ? before.VPC.get(name) : before.Subnet.get(name);
    if (mesh.openVnis && vni <= MAX_OPEN_VNI && kept?.vni !== vni)
      report(
        { kind, name },
        {
          field: "spec.vni",
          value: String(vni),
          problem: `is open to everybody, as all up to ${MAX_OPEN_VNI} are; choose a higher one, leave it out, or close them: openVnis: false in the mesh`,
        },
      );
    const other = owners.get(vni)?.find((owner) => owner.kind !== kind || owner.value.name !== name);
    if (other !== undefined)
      report(
        { kind, name },
        {
          field: "spec.vni",
          value: String(vni),
          problem: `is that of ${other.kind} "${other.value.name}"; choose another, or leave it out and one is given`,
        },
      );
  }
}
