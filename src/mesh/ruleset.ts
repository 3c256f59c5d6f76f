/**
 * The nftables table `inet causeway`: who may come from where. One table per family is all there is, so the pods' needs at the
 * IP layer are in it as well; what keeps a pod to its own address is in the table of family bridge.
 *
 * ```
 * packet in ─▶ prerouting, behind conntrack ─▶ (DNAT by others) ─▶ forward: MSS ──▶ postrouting: masquerade
 *              sources, enrolment, ports                                output ──────┘
 * ```
 * All rules only drop or let go on; nothing is accepted on behalf of the user's own firewall.
 */
import type { Ruleset } from "../engine/mod.ts";
import { formatIp, formatPrefix, ipPlus, type Prefix, prefixAddress } from "../net/mod.ts";
import { CLUSTER_BGP_PORT, type ExposedPort, type Mesh, type Node } from "../resources/mod.ts";
import { subnetRules } from "./external.ts";
import { LINK, PODS_LINK, type VxlanFacts } from "./facts.ts";
import { ENROL_PORT, GOSSIP_PORT, SYNC_PORT } from "./ports.ts";

/** Ports on which nodes speak of the register, and of VPCs. */
const NODES_TCP = `{ ${CLUSTER_BGP_PORT}, ${SYNC_PORT}-${GOSSIP_PORT} }`;
/** API, kubelet (10250, 10255), kube-proxy (10249, 10256), controller manager, scheduler, etcd, BGP, NodePort range, our own. */
const CLUSTER_TCP = `179, ${CLUSTER_BGP_PORT}, 2379-2380, 6443, ${ENROL_PORT}-${GOSSIP_PORT}, 10249-10250, 10255-10257, 10259, 30000-32767`;
/** VXLAN (IANA's port and the kernel's old one), NodePort range. */
const CLUSTER_UDP = "4789, 8472, 30000-32767";

/** A rule with its reason, which stands before it in the table. */
type Line = readonly [reason: string, ...rules: string[]];

function words(prefix: Prefix): string {
  return prefix.family === 4 ? "ip" : "ip6";
}

function present<T>(...values: readonly (T | undefined)[]): T[] {
  return values.filter((value) => value !== undefined);
}

function sourceRules(mesh: Mesh, self: Node): Line[] {
  const overlays = [mesh.overlay4, mesh.overlay6, mesh.enrol6];
  const pods = present(mesh.pods4, mesh.pods6);
  const own = present(self.pods4, self.pods6);
  const addresses = [
    `ip saddr ${formatIp(self.overlay4)}`,
    `ip6 saddr ${formatIp(self.overlay6)}`,
    ...own.map((prefix) => `${words(prefix)} saddr ${formatPrefix(prefix)}`),
  ];
  return [
    [
      "An overlay source proves the node, so it must have come by the tunnel (lo: this node itself).",
      ...overlays.map(
        (p) => `iifname != { "lo", "${LINK}" } ${words(p)} saddr ${formatPrefix(p)} counter drop`,
      ),
    ],
    [
      "So must a pod's, unless it is a pod of this node.",
      ...pods.map(
        (p) =>
          `iifname != { "lo", "${LINK}", "${PODS_LINK}" } ${words(p)} saddr ${formatPrefix(p)} counter drop`,
      ),
      ...pods.map((p) => {
        const mine = own.find((range) => range.family === p.family);
        const except = mine === undefined ? "" : ` ${words(p)} saddr != ${formatPrefix(mine)}`;
        return `iifname "${PODS_LINK}" ${words(p)} saddr ${formatPrefix(p)}${except} counter drop`;
      }),
    ],
    [
      "What is ours never comes back to us out of the tunnel; the hub could forge it.",
      ...addresses.map((source) => `iifname "${LINK}" ${source} counter drop`),
    ],
    [
      "Linux answers for any of its addresses on any interface: overlay and pod addresses answer in the tunnel and to pods only.",
      ...[...overlays, ...pods].map(
        (p) =>
          `iifname != { "lo", "${LINK}", "${PODS_LINK}" } ${words(p)} daddr ${formatPrefix(p)} counter drop`,
      ),
    ],
  ];
}

function enrolmentRules(mesh: Mesh, self: Node): Line[] {
  const enrol = formatPrefix(mesh.enrol6);
  if (!self.hub)
    return [["Enrolment is the hub's affair.", `iifname "${LINK}" ip6 saddr ${enrol} counter drop`]];
  const service = formatIp(ipPlus(prefixAddress(mesh.enrol6), 1n));
  return [
    [
      "A newcomer reaches the enrolment service and nothing else; its packets are never forwarded.",
      `iifname "${LINK}" ip6 saddr ${enrol} ip6 daddr ${service} tcp dport ${ENROL_PORT} accept`,
      `iifname "${LINK}" ip6 saddr ${enrol} counter drop`,
      `iifname != "lo" ip6 daddr ${enrol} counter drop`,
    ],
  ];
}

/** What leaves by this node's own sockets. */
function outputRules(mesh: Mesh, listenPort: number): Line[] {
  return [
    [
      "Who speaks to the register can leave in this node's name, and to reflectors move its pods: as at ctl.sock, only root may.",
      `tcp dport ${NODES_TCP} ip daddr ${formatPrefix(mesh.overlay4)} meta skuid != 0 counter drop`,
      `tcp dport ${NODES_TCP} ip6 daddr ${formatPrefix(mesh.overlay6)} meta skuid != 0 counter drop`,
    ],
    [
      "The tunnel never carries itself: a node that claimed an overlay address as its endpoint would send packets round for ever.",
      `oifname "${LINK}" udp sport ${listenPort} counter drop`,
    ],
  ];
}

function exposed(ports: readonly ExposedPort[], protocol: "tcp" | "udp"): string[] {
  const list = ports
    .filter((port) => port.protocol === protocol)
    .map((port) => (port.first === port.last ? `${port.first}` : `${port.first}-${port.last}`));
  return list.length === 0 ? [] : [`${protocol} dport { ${list.join(", ")} } return`];
}

function portRules(mesh: Mesh): Line[] {
  return [
    [
      "These ports are for nodes: neither for pods of this node nor for those of others.",
      `iifname != "lo" tcp dport ${NODES_TCP} fib daddr type local ip saddr != ${formatPrefix(mesh.overlay4)} counter drop`,
      `iifname != "lo" tcp dport ${NODES_TCP} fib daddr type local ip6 saddr != ${formatPrefix(mesh.overlay6)} counter drop`,
    ],
    [
      "Cluster ports answer in the tunnel and to pods only. Before DNAT, so that NodePorts are seen as what was called.",
      `iifname != { "lo", "${LINK}", "${PODS_LINK}" } fib daddr type local jump cluster_ports`,
    ],
  ];
}

function clusterPorts(mesh: Mesh, listenPort: number, vxlan: VxlanFacts | undefined): Line[] {
  return [
    [
      "Answers to what this node or its pods asked for come back to ports out of these ranges too.",
      "ct direction reply return",
    ],
    ["The tunnel itself.", `udp dport ${listenPort} return`],
    ...(vxlan === undefined || vxlan.link === LINK
      ? []
      : [
          [
            "Tenants' networks on an underlay of their own: the guard has judged.",
            `iifname "${vxlan.link}" udp dport @vxlan_port return`,
          ] as Line,
        ]),
    ...(mesh.exposedPorts.length === 0
      ? []
      : [
          [
            "Mesh.spec.exposedPorts.",
            ...exposed(mesh.exposedPorts, "tcp"),
            ...exposed(mesh.exposedPorts, "udp"),
          ] as Line,
        ]),
    [
      "Everything else of the cluster.",
      `tcp dport { ${CLUSTER_TCP} } counter drop`,
      `udp dport { ${CLUSTER_UDP} } counter drop`,
    ],
  ];
}

function masqueradeRules(mesh: Mesh, self: Node): Line[] {
  const inside = [mesh.overlay4, mesh.overlay6, ...present(mesh.pods4, mesh.pods6), ...mesh.services];
  const rule = (own: Prefix, never: readonly string[]): string => {
    const networks = inside.filter((p) => p.family === own.family).map(formatPrefix);
    const family = words(own);
    return `oifname != { "lo", "${LINK}", "${PODS_LINK}" } ${family} saddr ${formatPrefix(own)} ${family} daddr != { ${[...networks, ...never].join(", ")} } counter masquerade`;
  };
  return [
    [
      "Pods reach the world under the node's address; overlay, pods, services and multicast see the pod's own.",
      ...(self.pods4 === undefined ? [] : [rule(self.pods4, ["224.0.0.0/4", "255.255.255.255"])]),
      ...(self.pods6 === undefined ? [] : [rule(self.pods6, ["ff00::/8", "fe80::/10"])]),
    ],
    [
      "So are packets of the mesh for networks behind this node, which know no way back.",
      ...subnetRules(self),
    ],
  ];
}

function chain(name: string, hook: string | undefined, lines: readonly Line[]): string {
  const body = lines.flatMap(([reason, ...rules]) => (rules.length === 0 ? [] : [`# ${reason}`, ...rules]));
  return [
    `chain ${name} {`,
    ...[...(hook === undefined ? [] : [hook]), ...body].map((line) => `\t${line}`),
    "}",
  ].join("\n");
}

/** meshRuleset returns the table of family inet for one node. */
export function meshRuleset(options: {
  readonly mesh: Mesh;
  readonly self: Node;
  readonly listenPort: number;
  readonly vxlan?: VxlanFacts;
  /** MeshFacts.moreRules. */
  readonly more?: string | undefined;
}): Ruleset {
  const { mesh, self, listenPort, vxlan, more = "" } = options;
  const text = [
    ...(vxlan === undefined ? [] : [vxlan.guard.trimEnd()]),
    chain("cluster_ports", undefined, clusterPorts(mesh, listenPort, vxlan)),
    // -190: conntrack (-200) has seen the packet, DNAT (-100) has not.
    chain("prerouting", "type filter hook prerouting priority -190; policy accept;", [
      ...enrolmentRules(mesh, self),
      ...sourceRules(mesh, self),
      ...portRules(mesh),
    ]),
    chain("forward", "type filter hook forward priority mangle; policy accept;", [
      [
        "Nothing is forwarded to the nodes' own ports, since a NAT of this node could make it look like the node's own.",
        `tcp dport ${NODES_TCP} ip daddr ${formatPrefix(mesh.overlay4)} counter drop`,
        `tcp dport ${NODES_TCP} ip6 daddr ${formatPrefix(mesh.overlay6)} counter drop`,
      ],
      [
        "A TCP segment must fit the way even where ICMP is lost; lowers only, never raises.",
        `oifname "${LINK}" tcp flags syn / syn,rst tcp option maxseg size set rt mtu`,
        `iifname "${LINK}" tcp flags syn / syn,rst tcp option maxseg size set rt mtu`,
      ],
    ]),
    chain("output", "type filter hook output priority filter; policy accept;", outputRules(mesh, listenPort)),
    chain(
      "postrouting",
      "type nat hook postrouting priority srcnat; policy accept;",
      masqueradeRules(mesh, self),
    ),
  ].join("\n");
  return { kind: "ruleset", family: "inet", text: `${text}\n${more}` };
}
