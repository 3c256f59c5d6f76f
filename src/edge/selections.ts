/** Selections of nodes that resources of the edge make. */
import type { EdgeSelector, TenantResources } from "../resources/mod.ts";

/** selectionsOf returns all of them. */
export function selectionsOf({ Underlay, VPC, Subnet }: TenantResources): EdgeSelector[] {
  return [
    ...[...Underlay.values()].flatMap(({ nodes, hostSessions }) => [
      nodes,
      ...hostSessions.map((session) => session.nodes),
    ]),
    ...[...VPC.values()].flatMap(({ underlay, nodes }) =>
      underlay === undefined ? [] : [underlay.nodes, nodes],
    ),
    ...[...Subnet.values()].map(({ underlay }) => underlay?.nodes),
  ].filter((one) => one !== undefined);
}

/** selectedLabels returns the keys of labels that any of them looks at. */
export function selectedLabels(tenants: TenantResources): ReadonlySet<string> {
  const conditions = selectionsOf(tenants).flatMap(({ labels = [] }) => labels);
  return new Set(conditions.map(({ key }) => key));
}
