/**
 * Pods whose primary network is a private one (a VPC). The default network is for the cluster only: the node's own probes come in, names and
 * an allow-list of services go out.
 *
 * ```
 *   pod                                            node
 *   vpc0  VPC's addresses, default route
 *   eth0  the pod's address for the cluster ─────  cw<id>   frames to the node only (bridge); packets to the allow-list only (prerouting)
 *         rule: from that address, table 25463              nobody but the node begins anything with it (bridge, forward)
 *         routes to the allow-list
 * ```
 * The address has no route to its network in the main table, so a VPC may have the same one, and even the node's addresses: what the pod answers
 * leaves by the rule. Only a host of the VPC with this very address cannot be reached.
 *
 * The kernel takes no IPv6 gateway that by the main table is behind another interface, not even one that is said to be on the link
 * (net/ipv6/route.c, ip6_route_check_nh_onlink), but a link-local one always: so IPv6 goes to that of the node's bridge. Any pod of the bridge
 * could say that it has that address, so whose it is stands in the pod as a permanent neighbour.
 */
import type { SetElement } from "../engine/mod.ts";
import {
  type Family,
  formatIp,
  formatMac,
  formatPrefix,
  hostPrefix,
  type Ip,
  ip,
  linkLocalIp,
  type Mac,
  type Prefix,
  prefixOf,
} from "../net/mod.ts";
import type { Transport } from "./host-port.ts";
import { BRIDGE, bridgeMac, hostLinkOf } from "./identity.ts";
import { gatewaysOf, type NodeFacts } from "./node.ts";
import type { Pod } from "./pod.ts";
import type { PodRoute } from "./route.ts";

/** ClusterService is something of the cluster that such pods may reach: the API server, a registry. */
export interface ClusterService {
  /** Its address as pods know it, before any translation. */
  readonly prefix: Prefix;
  readonly protocol: Transport;
  readonly port: number;
}

/** Confinement is what is so of one of these pods only. */
export interface Confinement {
  /** Servers that the runtime writes into its resolv.conf. */
  readonly dnsServers: readonly Ip[];
}

/** CLUSTER_TABLE is the pod's routing table of the default network; the number spells cw. */
export const CLUSTER_TABLE = 0x6377;

/** CLUSTER_RULE is the priority of the rules that lead there: after the local table (0), before main (32766). */
export const CLUSTER_RULE = 1000;

/** ConfinedNeighbour is whom the pod's eth0 need not ask for. */
export interface ConfinedNeighbour {
  readonly ip: Ip;
  readonly mac: Mac;
}

/** confinedNeighbours returns the node's bridge as such a pod with IPv6 knows it; none for other pods. */
export function confinedNeighbours({ confined, addresses }: Pod, node: NodeFacts): ConfinedNeighbour[] {
  if (confined === undefined || !addresses.some(({ family }) => family === 6)) return [];
  const mac = bridgeMac(gatewaysOf(node.ranges).map((address) => address.ip));
  return [{ ip: linkLocalIp(mac), mac }];
}

/** confinedRoutes returns the routes of the pod's eth0: in a table of its own the default route, in main those to the allow-list. */
export function confinedRoutes(pod: Pod, node: NodeFacts): PodRoute[] {
  const gateways = gatewaysOf(node.ranges)
    .map((address) => address.ip)
    .filter(({ family }) => family === 4);
  const neighbours = confinedNeighbours(pod, node).map((neighbour) => neighbour.ip);
  return [...gateways, ...neighbours].flatMap((gateway) => {
    const { family } = gateway;
    const source = pod.addresses.find((address) => address.family === family);
    if (source === undefined) return [];
    const all = prefixOf(ip(family, 0n), 0);
    return [
      { destination: all, gateway, onlink: true, table: CLUSTER_TABLE },
      ...destinations(pod, node, family).map(
        (destination) => ({ destination, gateway, onlink: true, source }) as const,
      ),
    ];
  });
}

/** PodRule is a rule of a pod's routing policy. */
export interface PodRule {
  readonly priority: number;
  readonly from: Prefix;
  readonly table: number;
}

/** policyOf returns the rules by which what leaves with an address of the default network leaves by it; none for other pods. */
export function policyOf({ confined, addresses }: Pod): PodRule[] {
  if (confined === undefined) return [];
  return addresses.map((address) => ({
    priority: CLUSTER_RULE,
    from: hostPrefix(address),
    table: CLUSTER_TABLE,
  }));
}

function destinations(pod: Pod, { clusterServices = [] }: NodeFacts, family: Family): Prefix[] {
  const servers = (pod.confined?.dnsServers ?? []).map(hostPrefix);
  const all = [...servers, ...clusterServices.map(({ prefix }) => prefix)];
  const byText = new Map(
    all.filter((prefix) => prefix.family === family).map((prefix) => [formatPrefix(prefix), prefix]),
  );
  return [...byText.values()];
}

/** confinedElements returns what makes the node's rules hold for a pod. */
export function confinedElements(pod: Pod): SetElement[] {
  if (pod.confined === undefined) return [];
  const { dnsServers } = pod.confined;
  const element = (family: SetElement["family"], set: string, ...key: string[]): SetElement => ({
    kind: "element",
    ...{ family, set, key },
  });
  return [
    element("bridge", "confined", hostLinkOf(pod.id)),
    element("bridge", "confined_mac", formatMac(pod.mac)),
    ...pod.addresses.flatMap((address) => {
      const family = address.family === 4 ? "ip" : "ip6";
      const servers = dnsServers.filter((server) => server.family === address.family);
      return [
        element(family, "confined", formatIp(address)),
        ...servers.map((server) => element(family, "confined_dns", formatIp(address), formatIp(server))),
      ];
    }),
  ];
}

/** confinedFrames is the bridge's part: sets, and chain `from_confined` for what comes out of such a pod. `bridge` is the node. */
export function confinedFrames(bridge: Mac): string {
  return `
set confined { typeof iifname; }
set confined_mac { typeof ether daddr; }
chain from_confined {
  ether type arp ether daddr { ${formatMac(bridge)}, ff:ff:ff:ff:ff:ff } return
  icmpv6 type nd-neighbor-solicit return
  # Link-local sources are not the pod's alone, so the rules below the bridge cannot judge them.
  ether type ip6 ip6 saddr fe80::/10 meta l4proto != icmpv6 drop
  ether daddr ${formatMac(bridge)} return
  drop
}
`;
}

/**
 * confinedPackets is the part of one family. What comes from such a pod is judged before services are translated (dstnat is -100), what goes to
 * one after.
 */
export function confinedPackets(
  family: Family,
  { clusterServices = [] }: Pick<NodeFacts, "clusterServices">,
): string {
  const [ipWord, address] = family === 4 ? ["ip", "ipv4_addr"] : ["ip6", "ipv6_addr"];
  const allowed = clusterServices
    .filter(({ prefix }) => prefix.family === family)
    .map(
      ({ prefix, protocol, port }) =>
        `${ipWord} daddr ${formatPrefix(prefix)} ${protocol} dport ${port} accept`,
    );
  return [
    `set confined { type ${address}; }`,
    `set confined_dns { type ${address} . ${address}; }`,
    "chain confined_from {",
    "\ttype filter hook prerouting priority mangle; policy accept;",
    `\tiifname "${BRIDGE}" ${ipWord} saddr @confined jump from_confined`,
    "}",
    "chain from_confined {",
    "\tct state established,related accept",
    ...(family === 6 ? ["\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"] : []),
    `\t${ipWord} saddr . ${ipWord} daddr @confined_dns meta l4proto { tcp, udp } th dport 53 accept`,
    ...[...new Set(allowed)].sort().map((rule) => `\t${rule}`),
    "\tcounter drop",
    "}",
    "chain confined_to {",
    "\ttype filter hook forward priority filter; policy accept;",
    "\t# What belongs to no flow has no direction, and is dropped as well.",
    `\toifname "${BRIDGE}" ${ipWord} daddr @confined ct direction reply accept`,
    `\toifname "${BRIDGE}" ${ipWord} daddr @confined counter drop`,
    "}",
    "chain confined_near {",
    "\ttype nat hook postrouting priority srcnat; policy accept;",
    "\t# A service's pod on this node would answer directly, on the bridge, where nothing from pods may come.",
    `\toifname "${BRIDGE}" ${ipWord} saddr @confined ct status dnat masquerade`,
    "}",
    "",
  ].join("\n");
}
