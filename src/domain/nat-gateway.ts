/**
 * NAT gateways: a leg from a domain to the node's own namespace, and source NAT on the domain's side of it.
 *
 * ```
 *   cw-300: 10.0.0.0/16 ── forward: who may ── SNAT ── cwn300 ═ cwn300 ── the node: routes, masquerades the leg's own addresses ── outside
 * ```
 * The domain has translated its addresses before the node sees them, so tenants with the same ones do not meet there. To outside addresses
 * of the gateway's own the node only routes; a gateway without any has the leg's address, which the node masquerades (gateway-host.ts).
 */
import type { KernelObject } from "../engine/mod.ts";
import { type Family, formatIp, type Ip, parsePrefix } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { floatingForward, floatingNat, floatingSets } from "./floating-ip.ts";
import { gatewayFamilies, gatewayUsers } from "./gateway-choice.ts";
import type { Domain, NatGateway } from "./model.ts";
import { FAMILIES, ipWord, prefixSet } from "./prefix-set.ts";
import { legAddresses, legLink, legMac } from "./service-names.ts";

/** EVERYWHERE is the default route's destination. */
export const EVERYWHERE = { 4: parsePrefix("0.0.0.0/0"), 6: parsePrefix("::/0") } as const;

/** LEG_METRIC stands behind what is learned of other gateway nodes, and before what ends all misses. */
export const LEG_METRIC = 4096;

/** legObjects returns the scope `gateway` of the domain's namespace. `home` is the node's own namespace, `mtuBytes` what the domain's own VNI carries. */
export function legObjects(
  gateway: NatGateway,
  domain: Domain,
  { mtuBytes, home }: { readonly mtuBytes: number; readonly home: Netns },
): KernelObject[] {
  const name = legLink(domain.vni);
  return [
    {
      ...{ kind: "link", name, type: "veth", mtuBytes, master: null, addrGen: "none" },
      mac: legMac(domain.vni, "inside"),
      peer: { name, netns: home, mtuBytes, mac: legMac(domain.vni, "outside") },
    },
    ...gatewayFamilies(gateway, domain).flatMap((family) => wayOut(domain.vni, family)),
  ];
}

function wayOut(vni: number, family: Family): KernelObject[] {
  const link = legLink(vni);
  const { inside, outside } = legAddresses(vni, family);
  return [
    ...legSysctls(link, family),
    { kind: "address", link, address: { ip: inside, length: family === 4 ? 31 : 127 } },
    { kind: "neighbour", link, ip: outside, mac: legMac(vni, "outside") },
    {
      ...{ kind: "route", destination: EVERYWHERE[family], metric: LEG_METRIC },
      hops: [{ via: outside, dev: link }],
    },
  ];
}

/** legSysctls returns the settings of either end. */
export function legSysctls(link: string, family: Family): KernelObject[] {
  if (family === 4) return [];
  return ["disable_ipv6", "accept_ra"].map((name) => ({
    kind: "sysctl",
    path: `net/ipv6/conf/${link}/${name}`,
    value: "0",
  }));
}

/** GatewayTable is the gateway's part of the domain's table of family inet. */
export interface GatewayTable {
  /** Sets, maps and chains, those with hooks of their own too. */
  readonly definitions: readonly string[];
  /** Rules of the chains `forward` and `input`. */
  readonly forward: readonly string[];
  readonly input: readonly string[];
}

/** gatewayTable returns the rules of a domain that has its leg here; floating IPs are elements of the sets (floating-ip.ts). */
export function gatewayTable(gateway: NatGateway, domain: Domain): GatewayTable {
  return {
    definitions: [
      ...floatingSets(),
      ...chain("to-outside", [
        // Without a flow nothing is translated.
        "ct state { invalid, untracked } counter drop",
        ...floatingForward("to"),
        ...users(gateway, domain),
        "counter drop",
      ]),
      ...chain("from-outside", [
        "ct state { invalid, untracked } counter drop",
        "ct direction reply return",
        ...floatingForward("from"),
        "counter drop",
      ]),
      ...chain("outside-in", [
        "type nat hook prerouting priority dstnat; policy accept;",
        ...floatingNat("in"),
      ]),
      ...chain("outside-out", [
        "type nat hook postrouting priority srcnat; policy accept;",
        `oifname != "cwn*" return`,
        ...floatingNat("out"),
        ...FAMILIES.map((family) => sourceNat(gateway, family)),
      ]),
      ...chain("outside-mss", [
        "type filter hook forward priority mangle; policy accept;",
        "# A segment must fit the way even where ICMP is lost; lowers only, never raises.",
        'oifname "cwn*" tcp flags syn / syn,rst tcp option maxseg size set rt mtu',
        'iifname "cwn*" tcp flags syn / syn,rst tcp option maxseg size set rt mtu',
      ]),
    ],
    forward: ['oifname "cwn*" jump to-outside', 'iifname "cwn*" jump from-outside'],
    input: ['iifname "cwn*" counter drop'],
  };
}

function users(gateway: NatGateway, domain: Domain): string[] {
  const prefixes = gatewayUsers(gateway, domain);
  return FAMILIES.flatMap((family) => {
    const set = prefixSet(prefixes, family);
    return set === undefined ? [] : [`ct direction original ${ipWord(family)} saddr ${set} return`];
  });
}

/** A source keeps its outside address: servers take several for several people. */
function sourceNat({ domain, externalAddresses }: NatGateway, family: Family): string {
  const ip = ipWord(family);
  const own = externalAddresses.filter((address) => address.family === family).map(formatIp);
  const [first = formatIp(legAddresses(domain, family).inside)] = own;
  if (own.length < 2) return `meta nfproto ipv${family} snat ${ip} to ${first}`;
  const choices = own.map((address, index) => `${index} : ${address}`).join(", ");
  return `snat ${ip} to jhash ${ip} saddr mod ${own.length} seed 0x1 map { ${choices} }`;
}

/** endedSources returns the addresses that domains were seen as, and are not any more: flows keep the translation that they were begun with. */
export function endedSources(before: readonly NatGateway[], after: readonly NatGateway[]): Ip[] {
  const seenAs = ({ domain, externalAddresses }: NatGateway) =>
    FAMILIES.flatMap((family) => {
      const own = externalAddresses.filter((address) => address.family === family);
      return own.length > 0 ? own : [legAddresses(domain, family).inside];
    });
  return before.flatMap((gateway) => {
    const next = after.find(({ domain }) => domain === gateway.domain);
    if (next === undefined) return seenAs(gateway);
    const kept = new Set(seenAs(next).map(formatIp));
    return seenAs(gateway).filter((address) => !kept.has(formatIp(address)));
  });
}

function chain(name: string, lines: readonly string[]): string[] {
  return [`chain ${name} {`, ...lines.map((line) => `\t${line}`), "}"];
}
