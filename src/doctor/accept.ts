/** What a node's firewall must let through so that the overlay and the pods work, each as narrow as it can be, with a packet that shows it. */
import { LINK, PODS_LINK } from "../mesh/mod.ts";
import {
  bitsOf,
  type Family,
  formatPrefix,
  hostPrefix,
  type Ip,
  ipEqual,
  ipPlus,
  parseIp,
  type Prefix,
  prefixAddress,
  prefixContains,
} from "../net/mod.ts";
import type { Hook, Packet } from "./packet.ts";
import type { Place } from "./place.ts";

/** MARK begins the comment of each rule that is ours. */
export const MARK = "causeway: ";

/** Accept is one rule that must be, wherever its packets are refused without it. */
export interface Accept {
  readonly hook: Hook;
  readonly family: Family;
  /** What it is for; behind MARK, the rule's comment. */
  readonly about: string;
  readonly from?: string;
  readonly to?: string;
  readonly source?: Prefix;
  readonly destination?: Prefix;
  readonly udpPort?: number;
  /** Only what belongs to connections that others began. */
  readonly replies?: boolean;
  readonly samples: readonly Sample[];
}

/** Sample is a packet that must get through, twice: alike but for hosts of our networks. What refuses only one of them is meant for a host, and stays. */
export type Sample = readonly [Packet, Packet];

/** Someone in the world (RFC 5737, RFC 3849), by a link that is none of ours. */
const WORLD: Readonly<Record<Family, Ip>> = { 4: parseIp("203.0.113.9"), 6: parseIp("2001:db8:ffff::9") };
const API_PORT = 6443;
const KUBELET_PORT = 10250;
const HTTPS_PORT = 443;

/** Two addresses of a network, neither near its beginning, where hosts are: the last, and one of its first half. The node's own are not taken. */
function hostsOf(prefix: Prefix, isOwn: (address: Ip) => boolean = () => false): readonly [Ip, Ip] {
  const size = 1n << BigInt(bitsOf(prefix.family) - prefix.length);
  const candidates = [size - 2n, size / 4n + 1n, size / 2n + 1n, size - 3n, 1n]
    .filter((distance) => distance > 0n && distance < size)
    .map((distance) => ipPlus(prefixAddress(prefix), distance));
  const [late = prefixAddress(prefix), early = late] = candidates.filter((address) => !isOwn(address));
  return [late, early];
}

/** Packets with these fields; those that are pairs have one each. */
function sample(
  packet: Omit<Packet, "source" | "destination">,
  source: Ip | readonly [Ip, Ip],
  destination: Ip | readonly [Ip, Ip],
): Sample {
  const at = (value: Ip | readonly [Ip, Ip], index: 0 | 1) => ("family" in value ? value : value[index]);
  const of = (index: 0 | 1): Packet => ({
    ...packet,
    source: at(source, index),
    destination: at(destination, index),
  });
  return [of(0), of(1)];
}

/** acceptsOf returns all of them, for one node. */
export function acceptsOf(place: Place): readonly Accept[] {
  const families = [4, 6] as const;
  const uplink = place.uplink === undefined ? {} : { uplink: place.uplink };
  return families.flatMap((family) => {
    const of = <T extends { readonly family: Family }>(values: readonly T[]) =>
      values.find((value) => value.family === family);
    const [own, overlay, pods, ownPods] = [
      of(place.own),
      of(place.overlay),
      of(place.pods),
      of(place.ownPods),
    ];
    if (own === undefined || overlay === undefined) return [];
    const nodes: Nodes = { family, own, overlay };
    return [
      ...nodeAccepts(nodes, place),
      ...(pods === undefined || ownPods === undefined ? [] : podAccepts(nodes, { pods, ownPods, ...uplink })),
    ];
  });
}

interface Nodes {
  readonly family: Family;
  readonly own: Ip;
  readonly overlay: Prefix;
}

function tcp(port: number): Pick<Packet, "protocol" | "port" | "state"> {
  return { protocol: "tcp", port, state: "new" };
}

function nodeAccepts(nodes: Nodes, place: Place): Accept[] {
  const { family, own, overlay } = nodes;
  const peers = hostsOf(overlay, (address) => ipEqual(address, own));
  return [
    {
      ...{ hook: "input", family, about: "nodes of the mesh", from: LINK },
      ...{ source: overlay, destination: hostPrefix(own) },
      samples: [sample({ family, from: LINK, ...tcp(KUBELET_PORT) }, peers, own)],
    },
    ...tunnelAccepts(family, place),
    ...hubAccepts(nodes, place),
  ];
}

function tunnelAccepts(family: Family, { tunnelPort, uplink }: Place): Accept[] {
  if (tunnelPort === undefined || uplink === undefined) return [];
  const packet = { family, from: uplink, protocol: "udp", port: tunnelPort, state: "new" } as const;
  return [
    {
      ...{ hook: "input", family, about: "the tunnel", udpPort: tunnelPort },
      samples: [sample(packet, WORLD[family], ipPlus(WORLD[family], 1n))],
    },
  ];
}

function hubAccepts(nodes: Nodes, { enrolment }: Place): Accept[] {
  if (enrolment === undefined) return [];
  const { from: newcomers, service } = enrolment;
  const { family } = nodes;
  if (family !== service.family) return [throughHub(nodes)];
  const hosts = hostsOf(newcomers, (address) => ipEqual(address, service));
  return [
    {
      ...{ hook: "input", family, about: "newcomers ask the hub", from: LINK },
      ...{ source: newcomers, destination: hostPrefix(service) },
      samples: [sample({ family, from: LINK, ...tcp(HTTPS_PORT) }, hosts, service)],
    },
    throughHub(nodes),
  ];
}

/** What external peers, which only the hub knows, say to nodes and to each other. */
function throughHub({ family, own, overlay }: Nodes): Accept {
  const [late, early] = hostsOf(overlay, (address) => ipEqual(address, own));
  return {
    ...{ hook: "forward", family, about: "through this hub", from: LINK, to: LINK },
    ...{ source: overlay, destination: overlay },
    samples: [sample({ family, from: LINK, to: LINK, ...tcp(HTTPS_PORT) }, [late, early], [early, late])],
  };
}

function podAccepts(
  nodes: Nodes,
  { pods, ownPods, uplink }: { readonly pods: Prefix; readonly ownPods: Prefix; readonly uplink?: string },
): Accept[] {
  const { family, own, overlay } = nodes;
  const peers = hostsOf(overlay, (address) => ipEqual(address, own));
  const local = hostsOf(ownPods);
  const remotes = hostsOf(pods, (address) => prefixContains(ownPods, address));
  const input = { hook: "input", family, destination: hostPrefix(own) } as const;
  const inward = { hook: "forward", family, from: LINK, to: PODS_LINK, destination: ownPods } as const;
  const toPod = { family, from: LINK, to: PODS_LINK, ...tcp(HTTPS_PORT) } as const;
  const fromPod = { family, from: PODS_LINK, ...tcp(HTTPS_PORT) } as const;
  return [
    {
      ...{ ...input, about: "pods of other nodes to this node", from: LINK, source: pods },
      samples: [sample({ family, from: LINK, ...tcp(API_PORT) }, remotes, own)],
    },
    {
      ...{ ...input, about: "pods to this node", from: PODS_LINK, source: ownPods },
      samples: [sample({ family, from: PODS_LINK, ...tcp(API_PORT) }, local, own)],
    },
    { ...inward, about: "pods of other nodes", source: pods, samples: [sample(toPod, remotes, local)] },
    { ...inward, about: "nodes to pods", source: overlay, samples: [sample(toPod, peers, local)] },
    {
      ...{ hook: "forward", family, about: "from pods", from: PODS_LINK, source: ownPods },
      samples: [
        sample({ ...fromPod, to: LINK }, local, remotes),
        ...(uplink === undefined ? [] : [sample({ ...fromPod, to: uplink }, local, WORLD[family])]),
      ],
    },
    ...(uplink === undefined ? [] : [answers({ family, ownPods, uplink })]),
  ];
}

function answers(of: { readonly family: Family; readonly ownPods: Prefix; readonly uplink: string }): Accept {
  const { family, ownPods, uplink } = of;
  const packet = { family, from: uplink, to: PODS_LINK, ...tcp(HTTPS_PORT), state: "established" } as const;
  return {
    ...{ hook: "forward", family, about: "answers to pods", to: PODS_LINK, destination: ownPods },
    replies: true,
    samples: [sample(packet, WORLD[family], hostsOf(ownPods))],
  };
}

/** iptablesWords returns the rule for iptables or ip6tables. */
export function iptablesWords(accept: Accept): string[] {
  const { from, to, source, destination, udpPort, replies, about } = accept;
  return [
    ...(from === undefined ? [] : ["-i", from]),
    ...(to === undefined ? [] : ["-o", to]),
    ...(source === undefined ? [] : ["-s", formatPrefix(source)]),
    ...(destination === undefined ? [] : ["-d", formatPrefix(destination)]),
    ...(udpPort === undefined ? [] : ["-p", "udp", "--dport", String(udpPort)]),
    ...(replies === true ? ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"] : []),
    ...["-m", "comment", "--comment", MARK + about, "-j", "ACCEPT"],
  ];
}

/** nftText returns the rule in the language of nft(8). */
export function nftText({ family, from, to, source, destination, udpPort, replies, about }: Accept): string {
  const header = family === 4 ? "ip" : "ip6";
  const words = [
    from !== undefined && `iifname "${from}"`,
    to !== undefined && `oifname "${to}"`,
    source !== undefined && `${header} saddr ${formatPrefix(source)}`,
    destination !== undefined && `${header} daddr ${formatPrefix(destination)}`,
    udpPort !== undefined && `meta nfproto ipv${family} udp dport ${udpPort}`,
    replies === true && "ct state established,related",
    `counter accept comment "${MARK}${about}"`,
  ];
  return words.filter((word) => word !== false).join(" ");
}
