/** What of all resources is meant for one node, router by router. */
import type { InterfaceAddress } from "../net/mod.ts";
import {
  type EdgeNode,
  type SecurityGroup,
  selects,
  selectsEdge,
  type Subnet,
  type TenantResources,
  type Underlay,
  type Vpc,
} from "../resources/mod.ts";
import { indexOfAddress } from "./pool.ts";

/** EdgeFacts is what is known of a node. */
export interface EdgeFacts {
  readonly node: EdgeNode;
  /** Addresses of links by name, as they were before they were moved; for indices that are read from one. */
  readonly addresses?: Readonly<Record<string, readonly InterfaceAddress[]>>;
  /** SecurityGroups that files of the node have; a register judges its own before it has them. */
  readonly fileGroups?: readonly SecurityGroup[];
}

/** RouterView is what is meant for one router. All lists are in order of names, so that of two that cannot both be the first is kept. */
export interface RouterView {
  readonly router: string;
  /** One, unless something is wrong. */
  readonly underlays: readonly Underlay[];
  readonly vpcs: readonly Vpc[];
  /** Of those VPCs. */
  readonly subnets: readonly Subnet[];
}

/** byName sorts values by name, as text is compared everywhere. */
export function byName<T extends { readonly name: string }>(values: Iterable<T>): T[] {
  return [...values].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** isOnNode tells whether a VPC in a fabric is meant for a node. */
export function isOnNode({ underlay, nodes }: Vpc, node: EdgeNode): boolean {
  return (
    underlay !== undefined &&
    selectsEdge(underlay.nodes, node) &&
    (nodes === undefined || selects(nodes, node))
  );
}

/** routerViews returns a view for each router of the node, by name. */
export function routerViews(tenants: TenantResources, node: EdgeNode): RouterView[] {
  const underlays = byName(tenants.Underlay.values()).filter(({ nodes }) => selectsEdge(nodes, node));
  const vpcs = byName(tenants.VPC.values()).filter((vpc) => isOnNode(vpc, node));
  const routers = [...new Set(underlays.map(({ router }) => router))].sort();
  const subnets = byName(tenants.Subnet.values()).filter((subnet) =>
    selectsEdge(subnet.underlay?.nodes, node),
  );
  return routers.map((router) => {
    const own = vpcs.filter((vpc) => vpc.underlay?.router === router);
    const names = new Set(own.map(({ name }) => name));
    return {
      router,
      underlays: underlays.filter((underlay) => underlay.router === router),
      vpcs: own,
      subnets: subnets.filter(({ vpc }) => names.has(vpc)),
    };
  });
}

/** indexFor returns a node's index in the pools of an Underlay; undefined when it is not known. */
export function indexFor({ index }: Underlay, { node, addresses = {} }: EdgeFacts): number | undefined {
  if (index === undefined) return node.index;
  if ("number" in index) return index.number;
  return indexOfAddress(
    Object.hasOwn(addresses, index.link) ? (addresses[index.link] ?? []) : [],
    index.prefix,
  );
}
