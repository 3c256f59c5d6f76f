/**
 * Realms: networks that routers join without translating addresses. A NAT box stands between two realms, so prefixes of
 * one realm are unknown in the other, as private prefixes are in the internet.
 */
import { type Ip, ipEqual, type Prefix, prefixEqual } from "../net/mod.ts";
import { type Box, isNat, type NatBox, type Network, type RouterBox, type Topology } from "./topology.ts";

/** LabRoute is a route of a box; without destination it is the default route of the gateway's family. */
export interface LabRoute {
  readonly destination?: Prefix;
  readonly via: Ip;
}

/** realms returns for each network the name of its realm: the first network in it. */
export function realms(
  networks: readonly string[],
  routers: readonly (readonly string[])[],
): ReadonlyMap<string, string> {
  const realm = new Map(networks.map((network) => [network, network]));
  for (const joined of routers) {
    const names = new Set(joined.map((network) => realm.get(network)));
    const first = networks.find((network) => names.has(realm.get(network)));
    for (const [network, current] of realm)
      if (names.has(current) && first !== undefined) realm.set(network, realm.get(first) ?? first);
  }
  return realm;
}

/** realmsOf returns the realms of a topology. */
export function realmsOf(topology: Topology): ReadonlyMap<string, string> {
  return realms(
    topology.networks.map((network) => network.name),
    topology.boxes.flatMap((box) => (box.kind === "router" ? [networksOf(box)] : [])),
  );
}

/** natOf returns the NAT box between a machine and the rest of the world; undefined for one in the outermost realm. */
export function natOf(topology: Topology, box: Box): NatBox | undefined {
  const realm = realmsOf(topology);
  const own = new Set(box.attachments.map((attachment) => realm.get(attachment.network)));
  return topology.boxes
    .filter(isNat)
    .find((nat) => nat !== box && own.has(realm.get(nat.attachments[0].network)));
}

function networksOf(box: Box): string[] {
  return box.attachments.map((attachment) => attachment.network);
}

/** The router that a packet from a network meets first on its way, for every network that routers lead to. */
function firstHops(
  topology: Topology,
  start: { box: Box; network: string },
): Map<string, { router: RouterBox; network: string }> {
  const hops = new Map<string, { router: RouterBox; network: string }>();
  const own = new Set(networksOf(start.box));
  const queue: { network: string; hop?: RouterBox }[] = [{ network: start.network }];
  const routers = topology.boxes.filter(
    (box): box is RouterBox => box.kind === "router" && box !== start.box,
  );
  for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
    const { network, hop } = item;
    for (const router of routers.filter((candidate) => networksOf(candidate).includes(network))) {
      for (const next of networksOf(router)) {
        if (own.has(next) || hops.has(next)) continue;
        hops.set(next, { router: hop ?? router, network: start.network });
        queue.push({ network: next, hop: hop ?? router });
      }
    }
  }
  return hops;
}

function addressOn(box: Box, network: string, family: 4 | 6): Ip | undefined {
  const attachment = box.attachments.find((candidate) => candidate.network === network);
  return (family === 4 ? attachment?.address4 : attachment?.address6)?.ip;
}

/**
 * routesOf returns what a box needs beside its connected networks: the networks of its realm, and a default route towards
 * the realm's NAT box or, for machines in the outermost realm, to a router.
 */
export function routesOf(topology: Topology, box: Box): LabRoute[] {
  const routes: LabRoute[] = [];
  const prefixes = new Map(topology.networks.map((network) => [network.name, network]));
  const add = (network: Network, via: Ip | undefined) => {
    const destination = via?.family === 6 ? network.prefix6 : network.prefix4;
    if (via === undefined || destination === undefined) return;
    if (
      !routes.some((route) => route.destination !== undefined && prefixEqual(route.destination, destination))
    )
      routes.push({ destination, via });
  };
  const defaults: (Ip | undefined)[] = [];
  const nats = topology.boxes.filter(isNat).filter((nat) => nat !== box);
  for (const start of networksOf(box)) {
    const hops = firstHops(topology, { box, network: start });
    for (const [network, hop] of hops)
      for (const family of [4, 6] as const)
        if (addressOn(box, start, family) !== undefined)
          add(prefixes.get(network) as Network, addressOn(hop.router, hop.network, family));
    // The inside of a NAT box is not its way out.
    if (isNat(box) && start === box.attachments[0].network) continue;
    const uplink = nats.find((nat) => {
      const inside = nat.attachments[0].network;
      return inside === start || hops.has(inside);
    });
    const hop = uplink === undefined ? undefined : hops.get(uplink.attachments[0].network);
    const router = hop?.router ?? (box.kind === "router" ? undefined : [...hops.values()][0]?.router);
    const gateway = uplink?.attachments[0].network === start ? uplink : router;
    // NAT boxes speak IPv4 only, so the way out for IPv6 is a router.
    for (const [family, next] of [
      [4, gateway],
      [6, router],
    ] as const)
      if (next !== undefined && addressOn(box, start, family) !== undefined)
        defaults.push(addressOn(next, start, family));
  }
  for (const family of [4, 6] as const) {
    const via = defaults.find((address) => address?.family === family);
    if (via !== undefined) routes.push({ via });
  }
  // A route that says what the default route says already is left out.
  return routes.filter(
    (route) =>
      route.destination === undefined ||
      !routes.some((other) => other.destination === undefined && ipEqual(other.via, route.via)),
  );
}
