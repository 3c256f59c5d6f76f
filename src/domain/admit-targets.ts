/** Route targets: who may import what. Nobody takes part in another's VPC, unless both say so (sharedTargets). */
import type { Subnet, Vpc } from "../resources/mod.ts";
import type { Judged } from "./admit.ts";
import { type VniOwner, vniOwners } from "./admit-vnis.ts";
import { targetsOf } from "./targets.ts";

interface Holder extends VniOwner {
  readonly field: "importTargets" | "exportTargets";
  /** Name of the VPC. */
  readonly vpc: string;
  /** The VPC says that another one may have it, too. */
  readonly shared: boolean;
}

/** targetProblems reports route targets that belong to another VPC, or to another segment of the same one. */
export function targetProblems({ after, change, mesh, report }: Judged): void {
  const changed = new Set(change.set.map(({ kind, value }) => `${kind}/${value.name}`));
  const holders = new Map<string, Holder[]>();
  for (const owner of vniOwners(after))
    for (const [target, holder] of held(owner, after.VPC, mesh.asn)) {
      const list = holders.get(target);
      if (list === undefined) holders.set(target, [holder]);
      else list.push(holder);
    }
  for (const [target, list] of holders)
    for (const holder of list) {
      const { kind, value, field } = holder;
      if (!changed.has(`${kind}/${value.name}`)) continue;
      const other = list.find((one) => isForeign(holder, one));
      if (other === undefined) continue;
      const given = value[field] !== undefined;
      report(
        { kind, name: value.name },
        {
          field: given ? `spec.${field}` : "spec.vni",
          value: given ? target : `${value.vni}`,
          problem: `${given ? "is" : `has the automatic target ${target}, which is`} that of ${other.kind} "${other.value.name}" (${other.field})${fix(holder, other)}`,
        },
      );
      break;
    }
}

function fix(holder: Holder, other: Holder): string {
  if (holder.kind === "VPC" && other.kind === "VPC")
    return "; choose another, or list it in sharedTargets of both VPCs";
  return "; choose another, each VPC and Subnet has its own";
}

function isForeign(one: Holder, other: Holder): boolean {
  if (one.kind === other.kind && one.value.name === other.value.name) return false;
  return !(one.shared && other.shared && one.vpc !== other.vpc);
}

function held(
  owner: VniOwner,
  vpcs: ReadonlyMap<string, Vpc>,
  asn: number,
): (readonly [target: string, Holder])[] {
  const { kind, value } = owner;
  const vpc = kind === "VPC" ? (value as Vpc) : vpcs.get((value as Subnet).vpc);
  // Where nothing is routed, the VPC itself announces nothing.
  if (kind === "VPC" && vpc?.routed === false) return [];
  const { importTargets, exportTargets } = targetsOf(value, asn);
  const list = (field: Holder["field"], targets: readonly string[]) =>
    targets.map((target) => {
      const shared = kind === "VPC" && vpc?.sharedTargets.includes(target) === true;
      return [target, { ...owner, field, vpc: vpc?.name ?? "", shared }] as const;
    });
  // One that is both imported and exported is held once.
  const once = new Map([...list("exportTargets", exportTargets), ...list("importTargets", importTargets)]);
  return [...once];
}
