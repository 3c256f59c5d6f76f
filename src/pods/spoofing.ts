/**
 * A pod sends with its own addresses only. Frames are judged where they enter the bridge, before it learns from them; every port
 * named `cw…` must have said, by elements of these sets, what may come out of it, and whatever else comes is dropped.
 *
 * | frame | may pass |
 * |---|---|
 * | any | with the pod's own Ethernet source |
 * | IPv4 | with its own source |
 * | ARP | with its own sender hardware and protocol address (RFC 826, so probes of RFC 5227 are dropped: there is nothing to probe) |
 * | IPv6 | with its own or a link-local source; `::` only for duplicate address detection (RFC 4862) and MLD (RFC 3590) |
 * | neighbour advertisement | for its own or a link-local target, whatever its source |
 * | router advertisement, redirect | never: pods are no routers |
 * | all else (VLAN tags, BPDUs, …) | never |
 *
 * The bridge family has no connection tracking in every kernel, and none is needed. Nearly all that comes is IPv4 from where it should be: for that
 * one look into one set decides.
 */
import { confinedFrames } from "./confined.ts";
import { formatIp, formatMac, type Ip, type Mac } from "../net/mod.ts";
import { OTHERS_GROUP, type Ruleset, type SetElement } from "../engine/mod.ts";

const FAMILY = "bridge";

/** OWN_IP4 accepts an IPv4 packet of a pod with its own addresses. */
const OWN_IP4 = "ether type ip iifname . ether saddr . ip saddr @pod_ip4 accept";

/** SpoofingOptions are rules of whoever uses the table. */
export interface SpoofingOptions {
  /** Group of links on which nothing is judged; known at once, without a look into a set. Others that are not `ports` only cost more. */
  readonly trusted?: number;
  /** The same, judged after what most pods send: it costs them nothing. */
  readonly others?: number;
  /** Rules of all that comes from pods, before the others. */
  readonly first?: readonly string[];
}

/** spoofingRules returns the body of the table for some ports (`"cw*"`, `@set`); pods are elements of its sets. */
export function spoofingRules(ports: string, { trusted, others, first = [] }: SpoofingOptions = {}): string {
  const soon = first.length === 0 ? [OWN_IP4] : [];
  const begin = [...(trusted === undefined ? [] : [`iifgroup ${trusted} accept`]), ...soon];
  const then = [
    ...(first.length === 0 ? [] : [...first, OWN_IP4]),
    ...(others === undefined ? [] : [`iifgroup ${others} accept`]),
  ];
  const lines = (rules: readonly string[]) => rules.map((rule) => `  ${rule}\n`).join("");
  return `
set pod_mac { typeof iifname . ether saddr; }
set pod_ip4 { typeof iifname . ether saddr . ip saddr; }
set pod_ip6 { typeof iifname . ether saddr . ip6 saddr; }
# @th,64,128 is the target address of a neighbour advertisement (RFC 4861, section 4.4).
set pod_target6 { typeof iifname . @th,64,128; }
chain prerouting {
  type filter hook prerouting priority -300; policy accept;
${lines(begin)}  iifname ${ports} jump from_pod
}
chain from_pod {
${lines(then)}  iifname . ether saddr != @pod_mac drop
  ether type vmap { ip6 : goto from_pod_ip6, arp : goto from_pod_arp }
  drop
}
chain from_pod_arp {
  arp htype 1 arp ptype ip iifname . arp saddr ether . arp saddr ip @pod_ip4 accept
  drop
}
chain from_pod_ip6 {
  icmpv6 type vmap { nd-neighbor-advert : jump advert, nd-router-advert : drop, nd-redirect : drop }
  iifname . ether saddr . ip6 saddr @pod_ip6 accept
  ip6 saddr fe80::/10 accept
  ip6 saddr :: icmpv6 type { nd-neighbor-solicit, mld-listener-report, mld2-listener-report } accept
  drop
}
chain advert {
  iifname . @th,64,128 @pod_target6 return
  @th,64,10 0x3fa return
  drop
}
`;
}

/** antiSpoofing is the table of the default network: all its ports; pods are elements of its sets. `bridge` is the node's own address there. */
export function antiSpoofing(bridge: Mac): Ruleset {
  const first = ["ether daddr @confined_mac drop", "iifname @confined jump from_confined"];
  return {
    kind: "ruleset",
    family: FAMILY,
    text: `${confinedFrames(bridge)}${spoofingRules('"cw*"', { others: OTHERS_GROUP, first })}`,
  };
}

/** ownAddresses returns the elements that let a pod's frames through. */
export function ownAddresses(port: string, pod: { mac: Mac; addresses: readonly Ip[] }): SetElement[] {
  const mac = formatMac(pod.mac);
  const element = (set: string, ...value: string[]): SetElement => ({
    kind: "element",
    family: FAMILY,
    set,
    key: [port, ...value],
  });
  return [
    element("pod_mac", mac),
    ...pod.addresses.flatMap((address) =>
      address.family === 4
        ? [element("pod_ip4", mac, formatIp(address))]
        : [
            element("pod_ip6", mac, formatIp(address)),
            element("pod_target6", `0x${address.value.toString(16)}`),
          ],
    ),
  ];
}
