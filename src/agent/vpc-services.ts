/** What the register says of the services of all domains. */
import {
  compileFloatingIps,
  compileGateways,
  compileGroups,
  compileTunnels,
  type Domain,
  type DomainNode,
} from "../domain/mod.ts";
import type { Node, TenantResources } from "../resources/mod.ts";
import type { ServicesWish } from "./domain-services.ts";
import { vtepsOf } from "./vpc-underlay.ts";

/** ServicesFacts is what is known of the mesh. */
export interface ServicesFacts {
  readonly self: Node;
  readonly nodes: readonly Node[];
  readonly tenants: TenantResources;
  readonly domains: readonly Domain[];
  readonly node: DomainNode;
}

/** servicesWish returns it. */
export function servicesWish({ self, nodes, tenants, domains, node }: ServicesFacts): ServicesWish {
  const all = [self, ...nodes];
  const vteps = vtepsOf(all, node);
  return {
    domains,
    gateways: compileGateways(tenants, all),
    floating: compileFloatingIps(tenants),
    groups: compileGroups(tenants),
    vtepOf: (name) => vteps.get(name),
    tunnels: compileTunnels(tenants),
  };
}
