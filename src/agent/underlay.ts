/** What the node's own interfaces say of the network below the tunnel: addresses that others on a LAN can use, and the MTU. Pure. */
import { type Endpoint, type Ip, ipCompare, NOT_HOSTS, type Prefix, prefixContains } from "../net/mod.ts";
import type { AddressInfo, LinkInfo, RouteInfo } from "../netlink/mod.ts";

/** Interfaces of container systems: their addresses mean nothing to another machine. */
const CONTAINER_LINKS = /^(?:docker|br-|cni|flannel|kube-|cali|cilium|lxc|virbr|veth|cw)/;

/** MOST_LOCAL limits what a node reports of itself. */
const MOST_LOCAL = 16;

/** ETHERNET_MTU_BYTES is assumed where no route leads to a destination. */
const ETHERNET_MTU_BYTES = 1500;

/** localEndpoints returns the node's own addresses with the tunnel's port, in a stable order; `without` are the mesh's own prefixes. */
export function localEndpoints(
  links: readonly LinkInfo[],
  addresses: readonly AddressInfo[],
  options: { readonly port: number; readonly without: readonly Prefix[] },
): Endpoint[] {
  const usable = new Set(
    links
      .filter((link) => link.up && !link.loopback && !CONTAINER_LINKS.test(link.name))
      .map((link) => link.index),
  );
  const unwanted = [...NOT_HOSTS, ...options.without];
  return addresses
    .filter((entry) => usable.has(entry.linkIndex) && !entry.tentative && !entry.dadFailed)
    .map((entry) => entry.address.ip)
    .filter((ip) => !unwanted.some((prefix) => prefixContains(prefix, ip)))
    .sort(ipCompare)
    .slice(0, MOST_LOCAL)
    .map((ip) => ({ ip, port: options.port }));
}

/** ownAddressIn returns an address of the node that lies in one of the prefixes: as a mesh's they would cut the node off from its own network. */
export function ownAddressIn(
  prefixes: readonly Prefix[],
  links: readonly LinkInfo[],
  addresses: readonly AddressInfo[],
): { readonly ip: Ip; readonly prefix: Prefix } | undefined {
  for (const { ip } of localEndpoints(links, addresses, { port: 0, without: [] })) {
    const prefix = prefixes.find((candidate) => prefixContains(candidate, ip));
    if (prefix !== undefined) return { ip, prefix };
  }
  return undefined;
}

/** underlayMtu returns the MTU of the way to a destination: the route's own, or its link's. */
export function underlayMtu(
  routes: readonly RouteInfo[],
  links: readonly LinkInfo[],
  destination: Ip,
): number {
  const best = routes
    .filter((route) => route.table === 254 && prefixContains(route.destination, destination))
    .sort((a, b) => b.destination.length - a.destination.length || a.metric - b.metric)[0];
  if (best === undefined) return ETHERNET_MTU_BYTES;
  const link = links.find((candidate) => candidate.index === best.hops[0]?.linkIndex);
  return best.mtuBytes ?? link?.mtuBytes ?? ETHERNET_MTU_BYTES;
}
