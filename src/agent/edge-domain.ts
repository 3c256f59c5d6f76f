/** A domain of an edge, as those who have domains know it: the same bridge, VXLAN and routes as a VPC of the mesh, told by another speaker. */
import { type Domain, gatewayMac, type Segment } from "../domain/mod.ts";
import type { EdgeDomain, EdgeEndpoint, EdgeSegment, FabricTargets } from "../edge/mod.ts";
import type { KernelObject } from "../engine/mod.ts";
import type { Family, Ip, Prefix } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";

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

/** endpointAddress returns where VXLAN ends: what the plan says, or the first global address that a link has. */
export function endpointAddress(
  { family, address, link = "lo" }: EdgeEndpoint,
  route: Rtnetlink,
): Ip | undefined {
  if (address !== undefined) return address;
  const index = route.link(link)?.index;
  if (index === undefined) return undefined;
  return route
    .addresses({ linkIndex: index })
    .find((one) => one.scope === 0 && one.address.ip.family === family)?.address.ip;
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
