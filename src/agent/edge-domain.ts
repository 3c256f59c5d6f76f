/** A domain of an edge, as those who have domains know it: the same bridge, VXLAN and routes as a VPC of the mesh, told by another speaker. */
import {
  type Domain,
  type DomainNode,
  gatewayMac,
  routerMac,
  type Segment,
  segmentMtu,
} from "../domain/mod.ts";
import type { EdgeDomain, EdgeEndpoint, EdgeRouter, EdgeSegment, FabricTargets } from "../edge/mod.ts";
import type { KernelObject } from "../engine/mod.ts";
import { type Family, type Ip, type Prefix, prefixEqual } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { FabricSegment } from "./fabric-pods.ts";
import type { Vtep } from "./vpc-announcer.ts";

/** RTPROT_BGP (include/uapi/linux/rtnetlink.h). */
const BGP_PROTOCOL = 186;

function targetsOf({ importTargets, exportTargets, rd }: FabricTargets) {
  return { importTargets, exportTargets, ...(rd === undefined ? {} : { rd }) };
}

function segmentOf(segment: EdgeSegment): Segment {
  const { subnet, vni, prefixes, gateways, port } = segment;
  return {
    ...{ name: subnet, vni, prefixes, gateways, dstPort: port },
    gatewayMac: segment.gatewayMac ?? gatewayMac(vni),
    ...(segment.mtuBytes === undefined ? {} : { mtuBytes: segment.mtuBytes }),
    ...targetsOf(segment),
  };
}

/** domainIn returns an edge's domain as it stands in a router whose VXLAN ends there: its own address does not depend on what others have. */
export function domainIn(domain: EdgeDomain, vteps: EdgeVteps | undefined): Domain {
  const { vpc, vni, routing, segments } = domain;
  const vtep = vteps && vtepOf(domain, vteps);
  const own = {
    ...{ name: vpc, vni, segments: segments.map(segmentOf), peerings: [] },
    ...(vtep === undefined || typeof vtep === "string" ? {} : { vtep }),
  };
  if (routing === undefined) return own;
  const families = new Set<Family>([
    // What comes over is forwarded by what the fabric tells, of which there may be nothing here yet.
    ...(routing.leaks.length === 0 ? [] : ([4, 6] as const)),
    ...(routing.host?.edge ?? []).map(({ ip }) => ip.family),
    ...routing.announce.map(({ family }) => family),
    ...routing.routes.map(({ prefix }) => prefix.family),
  ]);
  return {
    ...own,
    routing: targetsOf(routing),
    families: [...families].sort(),
    dstPort: routing.port,
  };
}

/** vtepFor returns an address of ours as others are told of it. */
export function vtepFor(address: Ip): Vtep {
  return { address, routerMac: routerMac(address) };
}

/** EdgeVteps are where VXLAN ends. */
export interface EdgeVteps {
  /** The first that has an address. */
  readonly node: DomainNode;
  /** At most one of a family. */
  readonly all: readonly Ip[];
}

/** NOWHERE is where VXLAN of a router ends that is taken down. */
export const NOWHERE: EdgeVteps = {
  node: { vtep: { family: 4, value: 0n }, underlayLink: "lo", underlayMtuBytes: 1500 },
  all: [],
};

/** linksMtu returns what all links of the fabric carry, in bytes. */
export function linksMtu(links: EdgeRouter["links"], route: Rtnetlink): number {
  return Math.min(1 << 16, ...links.flatMap(({ name }) => route.link(name)?.mtuBytes ?? []));
}

/** edgeVteps returns where the VXLAN of a router ends; undefined as long as nothing has an address. */
export function edgeVteps({ endpoints, links }: EdgeRouter, route: Rtnetlink): EdgeVteps | undefined {
  const all = endpoints.flatMap((one) => endpointAddress(one, route) ?? []);
  const [vtep, [first]] = [all[0], links];
  if (vtep === undefined || first === undefined) return undefined;
  return { node: { vtep, underlayLink: first.name, underlayMtuBytes: linksMtu(links, route) }, all };
}

/** vtepOf returns where the VXLAN of a domain ends; a sentence where that cannot be. */
export function vtepOf({ vpc, routing, segments }: EdgeDomain, { all }: EdgeVteps): Ip | string {
  const parts = [...(routing === undefined ? [] : [routing]), ...segments];
  const families = [...new Set(parts.map(({ family }) => family))];
  if (families.length > 1)
    return `VPC "${vpc}" and its Subnets are over IPv4 and IPv6, which one of them cannot be yet; write one family`;
  const found = all.find(({ family }) => family === families[0]);
  return found ?? `VPC "${vpc}" is over IPv${families[0]}, of which the tunnel endpoint has no address`;
}

/** What the plan says, or the first global address that a link has. */
function endpointAddress({ family, address, link = "lo" }: EdgeEndpoint, route: Rtnetlink): Ip | undefined {
  if (address !== undefined) return address;
  const index = route.link(link)?.index;
  if (index === undefined) return undefined;
  return route
    .addresses({ linkIndex: index })
    .find((one) => one.scope === 0 && one.address.ip.family === family)?.address.ip;
}

/** RoomPlace says which domains are here, and where VXLAN of one ends. */
export interface RoomPlace {
  readonly here: readonly EdgeDomain[];
  readonly nodeOf: (domain: EdgeDomain) => DomainNode | undefined;
}

/** roomIn returns the MTU that a segment leaves to a pod; a sentence where it is not here, or not the one that is meant. */
export function roomIn(
  { vpc, domain, subnet, segment: vni, prefixes }: FabricSegment,
  { here, nodeOf }: RoomPlace,
): { readonly mtuBytes: number } | { readonly error: string } {
  const found = here.find((one) => one.vni === domain && one.vpc === vpc);
  const segment = found?.segments.find((one) => one.vni === vni && one.subnet === subnet);
  const node = found && nodeOf(found);
  if (segment === undefined || node === undefined)
    return { error: `Subnet ${subnet} of VPC ${vpc} is not in the fabric here; look at causeway status` };
  const isSame =
    segment.prefixes.length === prefixes.length &&
    segment.prefixes.every((prefix) => prefixes.some((one) => prefixEqual(one, prefix)));
  if (isSame) return { mtuBytes: segmentMtu(segmentOf(segment), node) };
  return {
    error: `Subnet ${subnet} has other prefixes in a file on this node than in the register, which gives addresses; make them the same`,
  };
}

/** staticObjects is scope `edge/routes` of a domain's namespace. */
export function staticObjects({ routing }: EdgeDomain): KernelObject[] {
  return (routing?.routes ?? []).map(({ prefix, via }) => ({
    ...{ kind: "route", destination: prefix },
    ...(via === undefined ? { type: "blackhole" } : { hops: [{ via }] }),
  }));
}

/** learnedIn returns what the kernel forwards to the host by what an earlier agent heard. */
export function learnedIn(netns: Netns | undefined): Prefix[] {
  if (netns === undefined) return [];
  using route = Rtnetlink.open({ netns });
  return route.routes({ protocol: BGP_PROTOCOL }).map(({ destination }) => destination);
}
