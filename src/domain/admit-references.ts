/** References: every name leads to a resource, of the right VPC; what another one names cannot be deleted. */
import type { TenantKind, TenantResource, TenantResources } from "../resources/mod.ts";
import type { Judged, TenantName } from "./admit.ts";

interface Reference {
  readonly field: string;
  readonly to: TenantName;
  /** VPC that the other one must be of. */
  readonly vpc?: string;
  /** The VPC must be routed; `mesh`: by the mesh, and not by a fabric. */
  readonly routed?: boolean | "mesh";
}

const toVpc = (field: string, name: string, routed: Reference["routed"] = false): Reference => ({
  field,
  to: { kind: "VPC", name },
  routed,
});

/** referencesOf returns what a resource names. */
export function referencesOf({ kind, value }: TenantResource): Reference[] {
  switch (kind) {
    case "VPC":
      return (value.underlay?.leaks ?? []).map(({ from }, i) =>
        toVpc(`spec.underlay.leaks[${i}].from`, from, true),
      );
    case "Underlay":
      return [];
    case "Subnet":
      return [toVpc("spec.vpc", value.vpc)];
    case "Peering":
      return value.vpcs.map((name, i) => toVpc(`spec.vpcs[${i}]`, name, "mesh"));
    case "NatGateway":
      return [toVpc("spec.vpc", value.vpc, "mesh")];
    case "Gateway":
      return value.vpc === undefined ? [] : [toVpc("spec.vpc", value.vpc, "mesh")];
    case "Route":
      return [{ field: "spec.gateway", to: { kind: "Gateway", name: value.gateway } }];
    case "FloatingIP":
      return [{ field: "spec.gateway", to: { kind: "NatGateway", name: value.gateway } }];
    case "SecurityGroup":
      return [
        toVpc("spec.vpc", value.vpc),
        ...value.rules.flatMap(({ groups }, i) =>
          groups.map((name, j): Reference => {
            const to: TenantName = { kind: "SecurityGroup", name };
            return { field: `spec.rules[${i}].groups[${j}]`, to, vpc: value.vpc };
          }),
        ),
      ];
  }
}

/** referenceProblems reports names that lead nowhere, and removals of what others name. */
export function referenceProblems(judged: Judged): void {
  const { after, change, report } = judged;
  for (const resource of change.set)
    for (const { field, to, ...rest } of referencesOf(resource)) {
      const problem = problemWith(to, rest, judged);
      if (problem !== undefined)
        report({ kind: resource.kind, name: resource.value.name }, { field, value: to.name, problem });
    }
  if (change.remove.length === 0) return;
  const gone = new Set(change.remove.map(({ kind, name }) => `${kind}/${name}`));
  for (const resource of resources(after))
    for (const { field, to } of referencesOf(resource)) {
      if (!gone.has(`${to.kind}/${to.name}`)) continue;
      // Told once, with the first that names it.
      gone.delete(`${to.kind}/${to.name}`);
      report(to, {
        problem: `is used by ${resource.kind} "${resource.value.name}" (${field}); delete that first`,
      });
    }
}

function* resources(tenants: TenantResources): Generator<TenantResource> {
  for (const kind of Object.keys(tenants) as TenantKind[])
    for (const value of tenants[kind].values()) yield { kind, value } as TenantResource;
}

function problemWith(
  to: TenantName,
  { vpc, routed = false }: Pick<Reference, "vpc" | "routed">,
  { after, change }: Judged,
): string | undefined {
  const value = after[to.kind].get(to.name);
  if (value === undefined)
    return change.remove.some(({ kind, name }) => kind === to.kind && name === to.name)
      ? `is a ${to.kind} that is removed; keep it, or name another`
      : `is no ${to.kind} that is there; apply it too, or name one of ${few(after[to.kind].keys())}`;
  if (vpc !== undefined && "vpc" in value && value.vpc !== vpc)
    return `is a ${to.kind} of VPC "${value.vpc}"; name one of VPC "${vpc}"`;
  if (routed !== false && "routed" in value && !value.routed)
    return "is a VPC without routing (routed: false); name one that is routed";
  // Nodes would make it a domain of the mesh, in the place of the fabric's.
  if (routed === "mesh" && "underlay" in value && value.underlay !== undefined)
    return "is a VPC in a fabric (spec.underlay), where there is no Peering, NatGateway or Gateway; name one of the mesh, or join two of a fabric by spec.underlay.leaks";
  return undefined;
}

function few(names: Iterable<string>): string {
  const all = [...names].sort();
  return all.length > 8
    ? `${all.slice(0, 8).join(", ")} and ${all.length - 8} more`
    : all.join(", ") || "none";
}
