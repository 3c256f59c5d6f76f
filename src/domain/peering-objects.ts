/**
 * Peerings: two domains of this node joined by a link, over which the prefixes of the peering pass and nothing else.
 *
 * ```
 *   cw-300                                                          cw-400
 *     10.1.0.0/16 via 169.254.0.1 dev cwp400 ── cwp400 ═ cwp300 ── 10.0.0.0/16 via 169.254.0.1 dev cwp300
 * ```
 * The link has no addresses: next hops are the same everywhere, and stand for the other end as permanent neighbours. What comes from one
 * peering never leaves by another, nor by a NAT gateway. The domain of the lower VNI makes the link; the other end is found.
 */
import type { KernelObject, Neighbour, Route } from "../engine/mod.ts";
import { type Family, parseIp, type Prefix } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { Domain, DomainPeering } from "./model.ts";
import { FAMILIES, ipWord, ofFamily, prefixSet } from "./prefix-set.ts";
import { peeringLink, peeringMac } from "./service-names.ts";

const HOPS = { 4: parseIp("169.254.0.1"), 6: parseIp("fe80::1") } as const;

/** Before what other nodes announce of the same prefixes: each has its own way. */
const METRIC = 512;

/** PeeringEnd is a peering as one of its domains sees it. */
export interface PeeringEnd {
  /** Domain.vni of this domain, and of the other one. */
  readonly own: number;
  readonly other: number;
  /** What of this domain the other one reaches. */
  readonly ownPrefixes: readonly Prefix[];
  readonly otherPrefixes: readonly Prefix[];
}

/** peeringEnds returns the peerings of a domain that the other domain agrees to. */
export function peeringEnds(domain: Domain, others: ReadonlyMap<number, Domain>): PeeringEnd[] {
  return domain.peerings.flatMap((peering) => {
    const mirror = others.get(peering.with)?.peerings.find((back) => back.with === domain.vni);
    if (mirror === undefined || peering.with === domain.vni) return [];
    return [endOf(domain, peering, mirror)];
  });
}

function endOf(domain: Domain, peering: DomainPeering, mirror: DomainPeering): PeeringEnd {
  return {
    own: domain.vni,
    other: peering.with,
    ownPrefixes: mirror.prefixes,
    otherPrefixes: peering.prefixes,
  };
}

/**
 * peeringObjects returns the scope `peering/<other>` of this domain's namespace. `netnsOf` is asked by the side that makes the link; `mtuBytes` is what
 * the domains' own VNIs carry.
 */
export function peeringObjects(
  end: PeeringEnd,
  { mtuBytes, netnsOf }: { readonly mtuBytes: number; readonly netnsOf: (vni: number) => Netns | undefined },
): KernelObject[] {
  const { own, other } = end;
  const name = peeringLink(other);
  const shared = { kind: "link", name, mac: peeringMac(own, other), addrGen: "none" } as const;
  const netns = own < other ? netnsOf(other) : undefined;
  const peer = {
    name: peeringLink(own),
    mac: peeringMac(other, own),
    mtuBytes,
    ...(netns !== undefined && { netns }),
  };
  if (own < other && netns === undefined) return [];
  return [
    own < other
      ? { ...shared, type: "veth", mtuBytes, master: null, peer }
      : { ...shared, type: "external", mtuBytes },
    ...FAMILIES.flatMap((family) => wayObjects(end, family)),
  ];
}

function wayObjects({ own, other, otherPrefixes }: PeeringEnd, family: Family): KernelObject[] {
  const link = peeringLink(other);
  const via = HOPS[family];
  const routes = ofFamily(otherPrefixes, family).map((destination): Route => ({
    kind: "route",
    destination,
    metric: METRIC,
    hops: [{ via, dev: link, onlink: true }],
  }));
  if (routes.length === 0) return [];
  const neighbour: Neighbour = { kind: "neighbour", link, ip: via, mac: peeringMac(other, own) };
  if (family === 4) return [neighbour, ...routes];
  return [
    { kind: "sysctl", path: `net/ipv6/conf/${link}/disable_ipv6`, value: "0" },
    { kind: "sysctl", path: `net/ipv6/conf/${link}/accept_ra`, value: "0" },
    neighbour,
    ...routes,
  ];
}

/** PeeringTable is the peerings' part of the domain's table of family inet. */
export interface PeeringTable {
  readonly definitions: readonly string[];
  /** Rules of the chains `forward` and `input`. */
  readonly forward: readonly string[];
  readonly input: readonly string[];
}

/** What a router has to tell about a packet comes under an address of its own. */
const ERRORS = {
  4: "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
  6: "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
} as const;

/** peeringTable returns the rules that let the prefixes of each peering pass, both ways, and nothing else. */
export function peeringTable(ends: readonly PeeringEnd[]): PeeringTable {
  if (ends.length === 0) return { definitions: [], forward: [], input: [] };
  const sorted = [...ends].sort((a, b) => a.other - b.other);
  const verdicts = (direction: string) =>
    sorted.map(({ other }) => `"${peeringLink(other)}" : goto ${direction}-peer-${other}`).join(", ");
  return {
    definitions: [
      ...sorted.flatMap((end) => [
        ...pass(`from-peer-${end.other}`, { from: end.otherPrefixes, to: end.ownPrefixes }),
        ...pass(`to-peer-${end.other}`, { from: end.ownPrefixes, to: end.otherPrefixes }),
      ]),
      "chain from-peers {",
      "\t# No transit.",
      '\toifname { "cwp*", "cwn*" } counter drop',
      `\tiifname vmap { ${verdicts("from")} }`,
      "\tcounter drop",
      "}",
      "chain to-peers {",
      `\toifname vmap { ${verdicts("to")} }`,
      "\tcounter drop",
      "}",
    ],
    forward: ['iifname "cwp*" jump from-peers', 'oifname "cwp*" jump to-peers'],
    input: ['iifname "cwp*" jump from-peers'],
  };
}

function pass(
  name: string,
  { from, to }: { readonly from: readonly Prefix[]; readonly to: readonly Prefix[] },
): string[] {
  const lines = FAMILIES.flatMap((family) => {
    const [sources, destinations] = [prefixSet(from, family), prefixSet(to, family)];
    if (sources === undefined || destinations === undefined) return [];
    const ip = ipWord(family);
    return [
      `${ip} saddr ${sources} ${ip} daddr ${destinations} return`,
      `${ip} daddr ${destinations} ${ERRORS[family]} return`,
    ];
  });
  return [`chain ${name} {`, ...lines.map((line) => `\t${line}`), "\tcounter drop", "}"];
}
