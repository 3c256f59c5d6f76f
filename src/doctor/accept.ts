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
  readonly samples: readonly Packet[];
}

/** Someone in the world (RFC 5737, RFC 3849), by a link that is none of ours. */
const WORLD: Readonly<Record<Family, Ip>> = { 4: parseIp("203.0.113.9"), 6: parseIp("2001:db8:ffff::9") };
const UPLINK = "uplink";
const API_PORT = 6443;
const KUBELET_PORT = 10250;
const HTTPS_PORT = 443;

/** A neighbour's address in a network: the node's own is never taken. */
function another(prefix: Prefix, own?: Ip): Ip {
  const first = ipPlus(prefixAddress(prefix), 2n);
  return own !== undefined && ipEqual(first, own) ? ipPlus(first, 1n) : first;
}

/** A pod of another node: the last address of the network, so far from the first ranges. */
function remotePod(prefix: Prefix): Ip {
  return ipPlus(prefixAddress(prefix), (1n << BigInt(bitsOf(prefix.family) - prefix.length)) - 2n);
}

/** acceptsOf returns all of them, for one node. */
export function acceptsOf(place: Place): readonly Accept[] {
  const families = [4, 6] as const;
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
      ...(pods === undefined || ownPods === undefined ? [] : podAccepts(nodes, { pods, ownPods })),
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

function nodeAccepts({ family, own, overlay }: Nodes, { enrolment, tunnelPort }: Place): Accept[] {
  const peer = another(overlay, own);
  const input = { hook: "input", family } as const;
  const accepts: Accept[] = [
    {
      ...{ ...input, about: "nodes of the mesh", from: LINK, source: overlay, destination: hostPrefix(own) },
      samples: [{ family, from: LINK, source: peer, destination: own, ...tcp(KUBELET_PORT) }],
    },
  ];
  if (tunnelPort !== undefined)
    accepts.push({
      ...{ ...input, about: "the tunnel", udpPort: tunnelPort },
      samples: [
        {
          ...{ family, from: UPLINK, source: WORLD[family], destination: ipPlus(WORLD[family], 1n) },
          ...{ protocol: "udp", port: tunnelPort, state: "new" },
        },
      ],
    });
  if (enrolment === undefined || family !== 6) return accepts;
  const { from: newcomers, service } = enrolment;
  accepts.push(
    {
      ...{
        ...input,
        about: "newcomers ask the hub",
        from: LINK,
        source: newcomers,
        destination: hostPrefix(service),
      },
      samples: [
        { family, from: LINK, source: another(newcomers, service), destination: service, ...tcp(HTTPS_PORT) },
      ],
    },
    throughHub({ family, own, overlay }),
  );
  return accepts;
}

/** What external peers, which only the hub knows, say to nodes and to each other. */
function throughHub({ family, own, overlay }: Nodes): Accept {
  const peer = another(overlay, own);
  return {
    ...{
      hook: "forward",
      family,
      about: "through this hub",
      from: LINK,
      to: LINK,
      source: overlay,
      destination: overlay,
    },
    samples: [
      { family, from: LINK, to: LINK, source: peer, destination: ipPlus(peer, 2n), ...tcp(HTTPS_PORT) },
    ],
  };
}

function podAccepts(
  { family, own, overlay }: Nodes,
  { pods, ownPods }: { readonly pods: Prefix; readonly ownPods: Prefix },
): Accept[] {
  const [pod, remote, peer] = [another(ownPods), remotePod(pods), another(overlay, own)];
  const input = { hook: "input", family, destination: hostPrefix(own) } as const;
  const forward = { hook: "forward", family } as const;
  const world = { family, from: UPLINK, to: PODS_LINK, source: WORLD[family], destination: pod } as const;
  return [
    {
      ...{ ...input, about: "pods of other nodes to this node", from: LINK, source: pods },
      samples: [{ family, from: LINK, source: remote, destination: own, ...tcp(API_PORT) }],
    },
    {
      ...{ ...input, about: "pods to this node", from: PODS_LINK, source: ownPods },
      samples: [{ family, from: PODS_LINK, source: pod, destination: own, ...tcp(API_PORT) }],
    },
    {
      ...{
        ...forward,
        about: "pods of other nodes",
        from: LINK,
        to: PODS_LINK,
        source: pods,
        destination: ownPods,
      },
      samples: [{ family, from: LINK, to: PODS_LINK, source: remote, destination: pod, ...tcp(HTTPS_PORT) }],
    },
    {
      ...{
        ...forward,
        about: "nodes to pods",
        from: LINK,
        to: PODS_LINK,
        source: overlay,
        destination: ownPods,
      },
      samples: [{ family, from: LINK, to: PODS_LINK, source: peer, destination: pod, ...tcp(HTTPS_PORT) }],
    },
    {
      ...{ ...forward, about: "from pods", from: PODS_LINK, source: ownPods },
      samples: [
        { family, from: PODS_LINK, to: LINK, source: pod, destination: remote, ...tcp(HTTPS_PORT) },
        { family, from: PODS_LINK, to: UPLINK, source: pod, destination: WORLD[family], ...tcp(HTTPS_PORT) },
      ],
    },
    {
      ...{ ...forward, about: "answers to pods", to: PODS_LINK, destination: ownPods, replies: true },
      samples: [{ ...world, protocol: "tcp", port: HTTPS_PORT, state: "established" }],
    },
  ];
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
