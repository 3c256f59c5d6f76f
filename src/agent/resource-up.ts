/** What a hub knows of resources from the nodes that do what they ask for. */
import type { UpState } from "../kube/mod.ts";
import type { TenantKind, TenantResources } from "../resources/mod.ts";
import type { HubRole } from "./hub-role.ts";

/** upOf returns whether nodes do what a resource asks for; undefined for one that none speaks of. */
export function upOf(
  role: Pick<HubRole, "view" | "routes" | "edges">,
  { kind, name }: { readonly kind: TenantKind; readonly name: string },
): UpState | undefined {
  const { tenants } = role.view();
  if (kind !== "Route") return isInFabric(tenants, { kind, name }) ? role.edges.ofAll(kind, name) : undefined;
  // Of a Route speaks the node that runs it, and no other.
  const node = tenants.Gateway.get(tenants.Route.get(name)?.gateway ?? "")?.node;
  const said = node === undefined ? undefined : role.routes(node).find((one) => one.name === name);
  return said ?? { up: undefined };
}

function isInFabric(
  { Underlay, VPC, Subnet }: TenantResources,
  { kind, name }: { readonly kind: TenantKind; readonly name: string },
): boolean {
  if (kind === "Underlay") return Underlay.has(name);
  const vpc = kind === "Subnet" ? Subnet.get(name)?.vpc : kind === "VPC" ? name : undefined;
  return vpc !== undefined && VPC.get(vpc)?.underlay !== undefined;
}
