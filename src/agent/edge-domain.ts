/** A domain of an edge, as those who have domains know it: the same bridge, VXLAN and routes as a VPC of the mesh, told by another speaker. */
import { type Domain, type DomainNode, gatewayMac, type Segment, segmentMtu } from "../domain/mod.ts";
import type { EdgeDomain, EdgeSegment, FabricTargets } from "../edge/mod.ts";
import type { KernelObject } from "../engine/mod.ts";
import { type Family, type Prefix, prefixEqual } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { FabricSegment } from "./fabric-pods.ts";

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
    ...targetsOf(segment),
  };
}

/** domainOf returns an edge's domain. */
export function domainOf({ vpc, vni, routing, segments }: EdgeDomain): Domain {
  const own = { name: vpc, vni, segments: segments.map(segmentOf), peerings: [] };
  if (routing === undefined) return own;
  const families = new Set<Family>([
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

/** isOver tells whether all of a domain is over tunnel endpoints of a family. */
export function isOver({ routing, segments }: EdgeDomain, family: Family): boolean {
  return [...(routing === undefined ? [] : [routing]), ...segments].every((one) => one.family === family);
}

/** roomIn returns the MTU that a segment leaves to a pod; a sentence where it is not here, or not the one that is meant. */
export function roomIn(
  { vpc, domain, subnet, segment: vni, prefixes }: FabricSegment,
  { here, node }: { readonly here: readonly EdgeDomain[]; readonly node: DomainNode | undefined },
): { readonly mtuBytes: number } | { readonly error: string } {
  const segment = here
    .find((one) => one.vni === domain && one.vpc === vpc)
    ?.segments.find((one) => one.vni === vni && one.subnet === subnet);
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
