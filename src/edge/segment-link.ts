/**
 * Both ends of a link between a segment and the host, as kernel objects.
 *
 * ```
 *   hostBridge ── hostLink ═ host<vni> ── br<vni> ── cw-<vni>      (a Subnet with hostBridge)
 *   others     ── hostLink ═ host<vni> ── br<vni> ── cw-<vni>      (hostLink alone)
 * ```
 * Who is behind it nobody says: the segment's bridge learns it.
 */
import { type KernelObject, OTHERS_GROUP } from "../engine/mod.ts";
import { type Family, linkLocalIp, type Mac } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { EdgeSegment } from "./model.ts";
import { segmentEdgeLink } from "./names.ts";

/** SegmentPlace says where a segment is: the name and the address of its bridge, the host's namespace, and what the fabric's MTU leaves. */
export interface SegmentPlace {
  readonly bridge: string;
  readonly mac: Mac;
  readonly home: Netns;
  readonly mtuBytes: number;
}

/** segmentPortObjects is scope `edge/link/<vni>` of a domain's namespace; none where the segment has no link on the host. */
export function segmentPortObjects(
  { vni, hostLink, gateways }: EdgeSegment,
  { bridge, mac, home, mtuBytes }: SegmentPlace,
): KernelObject[] {
  if (hostLink === undefined) return [];
  const routes = (family: Family) => gateways.some(({ ip }) => ip.family === family);
  return [
    {
      ...{ kind: "link", name: segmentEdgeLink(vni), type: "veth", mtuBytes, addrGen: "none" },
      ...{ master: bridge, port: { learning: true } },
      peer: { name: hostLink, netns: home, mtuBytes },
    },
    // Who came from elsewhere, and says so, is routed here at once.
    ...(routes(4)
      ? [{ kind: "sysctl", path: `net/ipv4/conf/${bridge}/arp_accept`, value: "1" } as const]
      : []),
    // For what is not sent by itself the kernel asks for IPv6 neighbours from such an address alone, or not at all (net/ipv6/ndisc.c, ndisc_ns_create).
    ...(routes(6)
      ? [{ kind: "address", link: bridge, address: { ip: linkLocalIp(mac), length: 64 } } as const]
      : []),
  ];
}

/** hostPortObjects is the host's end, for a scope of the host's namespace; of a bridge that is not ours nothing is changed. */
export function hostPortObjects({ hostLink, hostBridge }: EdgeSegment, mtuBytes: number): KernelObject[] {
  if (hostLink === undefined) return [];
  const port: KernelObject = {
    ...{ kind: "link", name: hostLink, type: "external", mtuBytes },
    group: OTHERS_GROUP,
  };
  // What others do with a link that is in no bridge of ours is theirs.
  if (hostBridge === undefined) return [port];
  const { name, managed } = hostBridge;
  return [
    ...(managed ? [{ kind: "link", name, type: "bridge" } as const] : []),
    { ...port, master: name, addrGen: "none" },
  ];
}

/** BridgeKind is what is found under a bridge's name: `undefined` for nothing, the kernel's word for its kind, "" for a link without. */
export type BridgeKind = string | undefined;

/** missingBridge says what is wrong with the bridge that a segment is to be in; undefined while nothing is. */
export function missingBridge({ subnet, hostBridge }: EdgeSegment, kind: BridgeKind): string | undefined {
  if (hostBridge === undefined || kind === "bridge") return undefined;
  const { name, managed } = hostBridge;
  const at = `Subnet "${subnet}": spec.hostBridge.name ${name}`;
  if (kind !== undefined)
    return `${at} is a link of this node that is no bridge; choose another name, or remove that link`;
  return managed ? undefined : `${at} is no bridge of this node; make it, or leave out managed: false`;
}
