/** Where VXLAN of a router of the edge ends, and what its links carry. */
import type { DomainNode } from "../domain/mod.ts";
import type { EdgeEndpoint, EdgeRouter } from "../edge/mod.ts";
import type { Ip } from "../net/mod.ts";
import type { Rtnetlink } from "../netlink/mod.ts";

/** fabricMtu returns what all links of a router carry, in bytes. */
export function fabricMtu({ links }: Pick<EdgeRouter, "links">, route: Rtnetlink): number {
  return Math.min(1 << 16, ...links.flatMap(({ name }) => route.link(name)?.mtuBytes ?? []));
}

/** endpointNode returns where VXLAN ends: one address, of the first family that has one; undefined where none has. */
export function endpointNode({ endpoints, links }: EdgeRouter, route: Rtnetlink): DomainNode | undefined {
  const vtep = endpoints.map((one) => addressOf(one, route)).find((address) => address !== undefined);
  const first = links[0];
  if (vtep === undefined || first === undefined) return undefined;
  return { vtep, underlayLink: first.name, underlayMtuBytes: fabricMtu({ links }, route) };
}

function addressOf({ family, address, link = "lo" }: EdgeEndpoint, route: Rtnetlink): Ip | undefined {
  if (address !== undefined) return address;
  const index = route.link(link)?.index;
  if (index === undefined) return undefined;
  return route
    .addresses({ linkIndex: index })
    .find((one) => one.scope === 0 && one.address.ip.family === family)?.address.ip;
}
