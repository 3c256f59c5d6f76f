/** From resources to ways out and rules: NatGateways, FloatingIPs and SecurityGroups, with names of nodes and VNIs instead of selections and names. */
import { type Node, type NodeSelector, selects, type TenantResources } from "../resources/mod.ts";
import type { FloatingIp, NatGateway, SecurityGroup } from "./model.ts";

type SelectedNode = Pick<Node, "name" | "hub" | "role" | "site">;

/** compileGateways returns the gateway of each VPC that has one; `nodes` are all that the register has, this one too. */
export function compileGateways(tenants: TenantResources, nodes: readonly SelectedNode[]): NatGateway[] {
  return [...tenants.NatGateway.values()].flatMap((gateway): NatGateway[] => {
    const domain = tenants.VPC.get(gateway.vpc)?.vni;
    if (domain === undefined) return [];
    const { name, prefixes = [], externalAddresses } = gateway;
    return [{ name, domain, nodes: chosen(gateway.nodes, nodes), prefixes, externalAddresses }];
  });
}

/** In the order in which they are named, which is the order of preference; else by name. */
function chosen(selector: NodeSelector, nodes: readonly SelectedNode[]): string[] {
  const named = selector.node ?? [];
  const rank = (name: string) => {
    const at = named.indexOf(name);
    return at < 0 ? named.length : at;
  };
  return nodes
    .filter((node) => selects(selector, node))
    .map(({ name }) => name)
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** compileFloatingIps returns the outside addresses of all VPCs. */
export function compileFloatingIps(tenants: TenantResources): FloatingIp[] {
  return [...tenants.FloatingIP.values()].flatMap(({ name, gateway, address, target }): FloatingIp[] => {
    const vpc = tenants.NatGateway.get(gateway)?.vpc;
    const domain = vpc === undefined ? undefined : tenants.VPC.get(vpc)?.vni;
    return domain === undefined ? [] : [{ name, domain, outside: address, inside: target }];
  });
}

/** compileGroups returns the security groups of each domain that has some, by its VNI and by name. */
export function compileGroups(
  tenants: Pick<TenantResources, "VPC" | "SecurityGroup">,
): ReadonlyMap<number, ReadonlyMap<string, SecurityGroup>> {
  const found = new Map<number, Map<string, SecurityGroup>>();
  for (const { name, vpc, rules } of tenants.SecurityGroup.values()) {
    const domain = tenants.VPC.get(vpc)?.vni;
    if (domain === undefined) continue;
    const groups = found.get(domain) ?? new Map<string, SecurityGroup>();
    found.set(domain, groups.set(name, { name, rules }));
  }
  return found;
}
