/**
 * Tunnels of a VPC: networks of remote sites that a Gateway reaches, from the node that runs it.
 *
 * ```
 *   cw-300: 10.2.0.0/16 ── cwt300 ═ cwt300 (the node) ── AF_XDP or packet sockets ── the gateway's process ─▶ ESP     in user space
 *   cw-300: 10.2.0.0/16 ── cwx300 ─▶ the node's policies and associations with if_id 300 ─▶ ESP                        by the kernel
 * ```
 * In user space the process has the node's end of the leg, and nothing else there has: what the kernel gets of it is dropped (gateway-host.ts). By the
 * kernel an XFRM interface, made in the node's own namespace, stands in the domain's: its policies and associations are the node's, and whose
 * `if_id` is another never meets its packets (net/xfrm/xfrm_interface_core.c). So two tenants may have the same networks, at both ends.
 *
 * Networks of a tunnel that is down, and of those of other nodes that nobody announces, end here: they never leave by a NAT gateway.
 */
import type { KernelObject } from "../engine/mod.ts";
import { formatPrefix, type Prefix } from "../net/mod.ts";
import type { Gateway, TenantResources } from "../resources/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { routesFamily } from "./domain-objects.ts";
import type { Domain } from "./model.ts";
import { tunnelAddresses, tunnelLink, tunnelMac, xfrmLink } from "./service-names.ts";

/** Before what other nodes announce of the same networks: each gateway has its own way. */
const METRIC = 512;
/** Behind all that leads somewhere but defaults, and before what ends all misses. */
const CLOSED_METRIC = 4_278_198_271;
/** What a leg carries at least: IPv6 (RFC 8200, section 5). Frames of AF_XDP hold no more than the other. */
const LEAST_MTU = 1280;
const MOST_MTU = 3400;

/** TunnelRoute is a way of a gateway to one remote site. */
export interface TunnelRoute {
  readonly name: string;
  readonly prefixes: readonly Prefix[];
}

/** Tunnel is a gateway of a VPC. */
export interface Tunnel {
  readonly gateway: string;
  /** Domain.vni. */
  readonly domain: number;
  /** The node that runs it. */
  readonly node: string;
  readonly by: "kernel" | "user";
  readonly mtuBytes: number;
  /** Queues of its leg in user space. */
  readonly queues: number;
  readonly routes: readonly TunnelRoute[];
}

/** tunnelBackEnd returns who carries the packets of a VPC's gateway: the kernel where that is said. */
export function tunnelBackEnd({ backend }: Pick<Gateway, "backend">): Tunnel["by"] {
  return backend === "kernel" ? "kernel" : "user";
}

/** compileTunnels returns the tunnels of all VPCs that have a VNI. */
export function compileTunnels(tenants: TenantResources): Tunnel[] {
  return [...tenants.Gateway.values()].flatMap((gateway): Tunnel[] => {
    const domain = gateway.vpc === undefined ? undefined : tenants.VPC.get(gateway.vpc)?.vni;
    if (domain === undefined) return [];
    const { name, node, mtuBytes } = gateway;
    const routes = [...tenants.Route.values()]
      .filter((route) => route.gateway === name)
      .map((route) => ({ name: route.name, prefixes: route.prefixes }));
    const queues = gateway.public.length;
    return [{ gateway: name, domain, node, by: tunnelBackEnd(gateway), mtuBytes, queues, routes }];
  });
}

/** openPrefixes returns the networks of a tunnel's routes, but for those that are down. */
export function openPrefixes({ routes }: Tunnel, down: ReadonlySet<string>): Prefix[] {
  return routes.flatMap(({ name, prefixes }) => (down.has(name) ? [] : prefixes));
}

/** DomainTunnels is what a domain's namespace is to have of tunnels. */
export interface DomainTunnels {
  /** Of this node; absent: it has none of this domain. */
  readonly own?: Tunnel | undefined;
  /** Of all nodes. */
  readonly all: readonly Tunnel[];
  /** Names of Routes that lead nowhere now. */
  readonly down: ReadonlySet<string>;
}

/** tunnelObjects returns the scope of tunnels in the domain's namespace; `home` is the node's own. */
export function tunnelObjects(
  domain: Domain,
  { own, all, down }: DomainTunnels,
  { home }: { readonly home: Netns },
): KernelObject[] {
  const routed = (prefix: Prefix) => routesFamily(domain, prefix.family);
  const closed = new Map(
    all.flatMap(({ routes }) =>
      routes.flatMap(({ prefixes }) => prefixes.map((prefix) => [formatPrefix(prefix), prefix] as const)),
    ),
  );
  return [
    ...[...closed.values()].filter(routed).map((destination): KernelObject => ({
      ...{ kind: "route", type: "unreachable", destination, metric: CLOSED_METRIC },
    })),
    ...(own === undefined ? [] : insideObjects(own, openPrefixes(own, down).filter(routed), home)),
  ];
}

function insideObjects(tunnel: Tunnel, prefixes: readonly Prefix[], home: Netns): KernelObject[] {
  const { domain, by, mtuBytes, queues } = tunnel;
  if (by === "kernel") {
    const name = xfrmLink(domain);
    return [
      { kind: "link", name, type: "xfrm", ifId: domain, mtuBytes: Math.max(LEAST_MTU, mtuBytes) },
      ...prefixes.map((destination): KernelObject => ({
        ...{ kind: "route", destination, metric: METRIC, hops: [{ dev: name }] },
      })),
    ];
  }
  const name = tunnelLink(domain);
  const legBytes = Math.min(MOST_MTU, Math.max(LEAST_MTU, mtuBytes));
  return [
    {
      ...{ kind: "link", name, type: "veth", mtuBytes: legBytes, master: null, addrGen: "none" },
      mac: tunnelMac(domain, "inside"),
      queues,
      peer: { name, netns: home, mtuBytes: legBytes, mac: tunnelMac(domain, "outside") },
    },
    ...([4, 6] as const).flatMap((family): KernelObject[] => {
      const { inside, outside } = tunnelAddresses(domain, family);
      return [
        ...(family === 6
          ? [{ kind: "sysctl", path: `net/ipv6/conf/${name}/disable_ipv6`, value: "0" } as const]
          : []),
        { kind: "address", link: name, address: { ip: inside, length: family === 4 ? 31 : 127 } },
        { kind: "neighbour", link: name, ip: outside, mac: tunnelMac(domain, "outside") },
      ];
    }),
    ...prefixes.map((destination): KernelObject => ({
      ...{ kind: "route", destination, metric: METRIC },
      hops: [{ via: tunnelAddresses(domain, destination.family).outside, dev: name }],
    })),
  ];
}

/** tunnelLegs returns the scope `tunnels` of the node's own namespace: ends of legs that gateways in user space have. The kernel does nothing with them. */
export function tunnelLegs(own: readonly Tunnel[]): KernelObject[] {
  return own
    .filter(({ by }) => by === "user")
    .flatMap(({ domain }): KernelObject[] => {
      const name = tunnelLink(domain);
      return [
        { kind: "link", name, type: "external", mac: tunnelMac(domain, "outside"), addrGen: "none" },
        { kind: "sysctl", path: `net/ipv6/conf/${name}/disable_ipv6`, value: "1" },
        { kind: "sysctl", path: `net/ipv4/conf/${name}/forwarding`, value: "0" },
      ];
    });
}
