/** From resources to the allow-list: what of the cluster pods reach whose primary network is a VPC. */
import { formatPrefix, type Prefix } from "../net/mod.ts";
import type { Mesh, TenantResources } from "../resources/mod.ts";

/** AllowedService is one port of one network of the cluster. */
export interface AllowedService {
  readonly prefix: Prefix;
  readonly protocol: "tcp" | "udp";
  readonly port: number;
}

/** compileServices returns what any VPC allows, each once: a node has one list for all of them. */
export function compileServices(tenants: TenantResources, mesh: Pick<Mesh, "services">): AllowedService[] {
  const found = new Map<string, AllowedService>();
  for (const { services } of tenants.VPC.values())
    for (const { prefixes, ports } of services)
      for (const prefix of prefixes.length > 0 ? prefixes : mesh.services)
        for (const { protocol, first, last } of ports)
          for (let port = first; port <= last; port++)
            found.set(`${formatPrefix(prefix)} ${protocol} ${port}`, { prefix, protocol, port });
  return [...found.values()];
}
