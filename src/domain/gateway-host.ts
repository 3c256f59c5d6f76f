/**
 * The node's own side of NAT gateways: the other end of each leg, the way to the outside addresses, and rules that keep tenants to the
 * outside: neither the node itself, nor the mesh, nor its pods are to be had by this way.
 *
 * The rules are the same whatever gateways there are; legs and their addresses are elements of sets.
 */
import type { KernelObject, SetElement } from "../engine/mod.ts";
import { type Family, formatIp, hostPrefix, type Ip } from "../net/mod.ts";
import { gatewayFamilies } from "./gateway-choice.ts";
import type { Domain, FloatingIp, NatGateway } from "./model.ts";
import { legSysctls } from "./nat-gateway.ts";
import { FAMILIES, ipWord } from "./prefix-set.ts";
import { legAddresses, legLink, legMac, legRange } from "./service-names.ts";

/** HostLeg is a gateway as its node sees it. */
export interface HostLeg {
  readonly gateway: NatGateway;
  readonly domain: Domain;
  readonly floating: readonly FloatingIp[];
  /** Families of which this node is the gateway now, rather than standing by: only of those outside addresses lead here. */
  readonly active: readonly Family[];
}

/** outsideAddresses returns the addresses of a gateway's own that the world has to send to its live node; BGP may announce them. */
export function outsideAddresses({ gateway, floating }: Pick<HostLeg, "gateway" | "floating">): Ip[] {
  const all = [...gateway.externalAddresses, ...floating.map(({ outside }) => outside)];
  return [...new Map(all.map((address) => [formatIp(address), address])).values()];
}

/**
 * hostLegObjects returns the scope `gateways` of the node's own namespace, all legs together: an outside address that goes from one domain
 * to another is never asked for by both. Of two that want the same one, the first has it. On `links` the node answers for outside addresses,
 * for neighbours that take them for one of theirs.
 */
export function hostLegObjects(
  legs: readonly HostLeg[],
  { links = [] }: { readonly links?: readonly string[] } = {},
): KernelObject[] {
  const taken = new Map<string, Ip>();
  const objects = legs.flatMap((leg) => {
    const { gateway, domain } = leg;
    const link = legLink(domain.vni);
    const addresses = outsideAddresses(leg).filter(
      (one) => leg.active.includes(one.family) && !taken.has(formatIp(one)),
    );
    for (const address of addresses) taken.set(formatIp(address), address);
    return [
      { kind: "link", name: link, type: "external", mac: legMac(domain.vni, "outside"), addrGen: "none" },
      ...gatewayFamilies(gateway, domain).flatMap((family) => endObjects(domain.vni, family)),
      ...addresses.flatMap((address) => wayIn(domain.vni, address)),
    ] satisfies KernelObject[];
  });
  return [...objects, ...links.flatMap((link) => answers(link, [...taken.values()]))];
}

/** Without the delay of up to 0.8 s by which the kernel lets others answer first. */
function answers(link: string, addresses: readonly Ip[]): KernelObject[] {
  const families = FAMILIES.filter((family) => addresses.some((address) => address.family === family));
  return [
    ...families.map((family): KernelObject => ({
      kind: "sysctl",
      path: `net/ipv${family}/neigh/${link}/proxy_delay`,
      value: "0",
    })),
    ...(families.includes(6)
      ? [{ kind: "sysctl", path: `net/ipv6/conf/${link}/proxy_ndp`, value: "1" } as const]
      : []),
    ...addresses.map((ip): KernelObject => ({ kind: "proxy", link, ip })),
  ];
}

function wayIn(vni: number, address: Ip): KernelObject[] {
  const link = legLink(vni);
  const hops = [{ via: legAddresses(vni, address.family).inside, dev: link }];
  return [{ kind: "route", destination: hostPrefix(address), hops }, source(link, address)];
}

function endObjects(vni: number, family: Family): KernelObject[] {
  const link = legLink(vni);
  const { inside, outside } = legAddresses(vni, family);
  return [
    ...legSysctls(link, family),
    { kind: "address", link, address: { ip: outside, length: family === 4 ? 31 : 127 } },
    { kind: "neighbour", link, ip: inside, mac: legMac(vni, "inside") },
    source(link, inside),
  ];
}

function source(link: string, address: Ip): SetElement {
  return {
    kind: "element",
    family: "inet",
    set: `leg_source${address.family}`,
    key: [link, formatIp(address)],
  };
}

/** LEG_RULES stand in the node's own table of family inet before any leg is there. */
export const LEG_RULES: string = [
  ...FAMILIES.map((family) => `set leg_source${family} { type ifname . ipv${family}_addr; }`),
  ...chain("leg_prerouting", [
    "# -190: conntrack (-200) has seen the packet, DNAT (-100) has not.",
    "type filter hook prerouting priority -190; policy accept;",
    "# Legs' addresses are nobody's but the legs'; out of a leg comes what its domain is seen as, and nothing else.",
    // The address first: hardly any packet has one.
    ...FAMILIES.map(
      (family) =>
        `${ipWord(family)} saddr ${legRange(family)} iifname != "lo" iifname != "cwn*" counter drop`,
    ),
    'iifname "cwn*" jump from_leg',
    "# Of a leg of tunnels a gateway's process takes what comes; the node itself has nothing to do with it.",
    'iifname "cwt*" counter drop',
  ]),
  ...chain("from_leg", [
    ...FAMILIES.map((family) => `iifname . ${ipWord(family)} saddr != @leg_source${family} counter drop`),
    "ct state { invalid, untracked } counter drop",
    "# Clouds tell a machine its secrets there; it is not to be forwarded (RFC 3927, section 7).",
    "ip daddr 169.254.0.0/16 counter drop",
    "ip6 daddr fd00:ec2::254 counter drop",
  ]),
  ...chain("leg_input", [
    "type filter hook input priority filter; policy accept;",
    "# The node answers no tenant; a tenant answers the node.",
    'iifname "cwn*" ct direction original counter drop',
  ]),
  ...chain("leg_forward", [
    "type filter hook forward priority filter; policy accept;",
    "# Neither the mesh nor pods of the default network; other tenants by their outside addresses.",
    `iifname "cwn*" oifname "cw*" oifname != "cwn*" ct direction original counter drop`,
  ]),
  ...chain("leg_postrouting", [
    "type nat hook postrouting priority srcnat; policy accept;",
    ...FAMILIES.map((family) => `${ipWord(family)} saddr ${legRange(family)} counter masquerade`),
  ]),
]
  .map((line) => `${line}\n`)
  .join("");

function chain(name: string, lines: readonly string[]): string[] {
  return [`chain ${name} {`, ...lines.map((line) => `\t${line}`), "}"];
}
