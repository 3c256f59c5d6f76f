/** The node's part of the default pod network: a bridge that is the pods' gateway, and the table that keeps them honest. */
import type { KernelObject, Ruleset } from "../engine/mod.ts";
import { gatewayOf } from "../ipam/mod.ts";
import type { Family, InterfaceAddress, Prefix } from "../net/mod.ts";
import { type HostPortLimits, hostPortRuleset } from "./host-port-ruleset.ts";
import { BRIDGE, bridgeMac } from "./identity.ts";
import { type ClusterService, confinedPackets } from "./confined.ts";
import { antiSpoofing } from "./spoofing.ts";

/** NodeFacts is what the pods of a node share. */
export interface NodeFacts extends HostPortLimits {
  /** The node's ranges: at most one per family. */
  readonly ranges: readonly Prefix[];
  /** MTU of pods: the tunnel's. */
  readonly mtuBytes: number;
  /** What pods whose primary network is a private one may reach, beside their servers of names. */
  readonly clusterServices?: readonly ClusterService[];
}

/** gatewaysOf returns the node's addresses on its bridge: the first after each range's network, with the node's own mask. */
export function gatewaysOf(ranges: readonly Prefix[]): InterfaceAddress[] {
  return ranges.map((range) => ({ ip: gatewayOf(range), length: range.length }));
}

/** nodeObjects is scope `pods`: empty when the node has no range. */
export function nodeObjects(node: NodeFacts): KernelObject[] {
  const { ranges, mtuBytes } = node;
  if (ranges.length === 0) return [];
  const gateways = gatewaysOf(ranges);
  const mac = bridgeMac(gateways.map(({ ip }) => ip));
  const settings = ranges.some(({ family }) => family === 6)
    ? [
        // IPv6 may be off for new links of this machine.
        { kind: "sysctl", path: `net/ipv6/conf/${BRIDGE}/disable_ipv6`, value: "0" } as const,
        // The pods' router hears nobody's advertisements, and its addresses are nobody else's: no detection to wait for.
        { kind: "sysctl", path: `net/ipv6/conf/${BRIDGE}/accept_ra`, value: "0" } as const,
        { kind: "sysctl", path: `net/ipv6/conf/${BRIDGE}/accept_dad`, value: "0" } as const,
      ]
    : [];
  return [
    {
      kind: "link",
      type: "bridge",
      name: BRIDGE,
      mtuBytes,
      mac,
      stp: false,
      master: null,
    },
    ...settings,
    ...gateways.map((address) => ({ kind: "address", link: BRIDGE, address, nodad: true }) as const),
    antiSpoofing(mac),
    ...ranges.map(({ family }) => familyRuleset(family, node)),
  ];
}

/** One table of a family holds all that the node has to say of it. */
function familyRuleset(family: Family, node: NodeFacts): Ruleset {
  const ruleset = hostPortRuleset(family, node);
  return { ...ruleset, text: `${ruleset.text}${confinedPackets(family, node)}` };
}
