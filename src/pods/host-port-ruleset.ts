/**
 * The node's rules for host ports: tables `ip causeway` and `ip6 causeway`. Pods are elements of the maps.
 *
 * ```
 *   from outside, tunnel, pods ─▶ prerouting ─┐                          ┌─▶ pod, which sees the client's own address
 *   from the node itself ───────▶ output ─────┴─▶ host_ports: DNAT ──────┤
 *                                                                        └─▶ postrouting: masquerade, if it came from a pod or 127.0.0.1
 * ```
 * A pod of this node is masqueraded because its peer would otherwise answer it directly on the bridge, where nobody translates back; and a
 * pod that calls itself, because it would not believe its own address. What `inet causeway` drops (sources, cluster ports) is dropped
 * before this, so a host port is open to those that the port itself is open to.
 */
import type { Ruleset } from "../engine/mod.ts";
import { type Family, formatPrefix, type Prefix } from "../net/mod.ts";
import type { Transport } from "./host-port.ts";
import { BRIDGE } from "./identity.ts";

/** OwnPort is a port that the node itself cannot do without. */
export interface OwnPort {
  readonly protocol: Transport;
  readonly port: number;
  /** What it is for, as a noun: `the tunnel`. */
  readonly purpose: string;
}

/** The bit that the plugin portmap has always used for the same purpose, so that nobody else does. */
const MARK = 0x2000;

const words = {
  4: { ip: "ip", address: "ipv4_addr" },
  6: { ip: "ip6", address: "ipv6_addr" },
} as const;

/** HostPortLimits is what no pod gets. */
export interface HostPortLimits {
  readonly ownPorts?: readonly OwnPort[];
  /** Addresses of services: with IPVS they stand on a link of the node, and are not its own all the same. */
  readonly services?: readonly Prefix[];
}

/** hostPortRuleset returns the table of one family. */
export function hostPortRuleset(
  family: Family,
  { ownPorts = [], services = [] }: HostPortLimits = {},
): Ruleset {
  const { ip, address } = words[family];
  const virtual = services.filter((prefix) => prefix.family === family).map(formatPrefix);
  const own = ownPorts.map(({ protocol, port }) => `${protocol} . ${port}`).sort();
  const onTheWire = `iifname != "lo"`;
  const fromPods = `iifname "${BRIDGE}"`;
  const toPods = `oifname "${BRIDGE}"`;
  const text = [
    `map host_port { type inet_proto . inet_service : ${address} . inet_service; }`,
    `map host_port_at { type ${address} . inet_proto . inet_service : ${address} . inet_service; }`,
    ...(family === 4
      ? chain("guard", "type filter hook prerouting priority raw; policy accept;", [
          "# Never on the wire (RFC 1122, section 3.2.1.3): with route_localnet the bridge takes such packets from pods (CVE-2020-8558), and",
          "# DNAT would come before the kernel's own check of those from elsewhere.",
          `${onTheWire} ip saddr 127.0.0.0/8 counter drop`,
          `${onTheWire} ip daddr 127.0.0.0/8 counter drop`,
        ])
      : []),
    ...chain("prerouting", "type nat hook prerouting priority dstnat; policy accept;", [
      "fib daddr type local jump host_ports",
    ]),
    // -100 is dstnat, a name that nft does not know in this hook.
    ...chain("output", "type nat hook output priority -100; policy accept;", [
      "fib daddr type local jump host_ports",
    ]),
    ...chain("host_ports", undefined, [
      ...(family === 6 ? ["# Neither can be forwarded.", "ip6 daddr { ::1, fe80::/10 } return"] : []),
      ...(virtual.length === 0 ? [] : [`${ip} daddr { ${virtual.join(", ")} } return`]),
      ...(own.length === 0
        ? []
        : [
            "# Without these the node is cut off: no pod gets them, whatever it asked for before they were known.",
            `meta l4proto . th dport { ${own.join(", ")} } return`,
          ]),
      `${fromPods} meta mark set meta mark | ${MARK}`,
      `dnat ${ip} to ${ip} daddr . meta l4proto . th dport map @host_port_at`,
      `dnat ${ip} to meta l4proto . th dport map @host_port`,
      `${fromPods} meta mark set meta mark & ${~MARK >>> 0}`,
    ]),
    ...chain("postrouting", "type nat hook postrouting priority srcnat; policy accept;", [
      ...(family === 4 ? [`${toPods} ip saddr 127.0.0.0/8 masquerade`] : []),
      `${toPods} ct status dnat meta mark & ${MARK} == ${MARK} masquerade`,
    ]),
  ].join("\n");
  return { kind: "ruleset", family: ip, text: `${text}\n` };
}

function chain(name: string, hook: string | undefined, rules: readonly string[]): string[] {
  return [
    `chain ${name} {`,
    ...[...(hook === undefined ? [] : [hook]), ...rules].map((line) => `\t${line}`),
    "}",
  ];
}
