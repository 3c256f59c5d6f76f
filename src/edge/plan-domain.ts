/** From a VPC and its Subnets to a domain of a router. */
import { type Family, formatPrefix, type InterfaceAddress, type Prefix } from "../net/mod.ts";
import type { Subnet, Vpc } from "../resources/mod.ts";
import { type JudgedRouter, subnetsByVpc } from "./judge.ts";
import { familyOf } from "./judge-domain.ts";
import type { DomainRouting, EdgeDomain, EdgeLeak, EdgeSegment, FabricTargets } from "./model.ts";
import { hostLegLink, segmentHostBridge, segmentHostLink } from "./names.ts";
import { hostLeg, hostPrefixes } from "./plan-router.ts";

/** RFC 7348 section 5. */
const VXLAN_PORT = 4789;

/** vxlanOverhead returns what VXLAN takes of the fabric's MTU: Ethernet 14, VXLAN 8, UDP 8, and IP 20 or 40 bytes. */
export function vxlanOverhead(family: Family): number {
  return family === 4 ? 50 : 70;
}

/** planDomains returns the domains of a router by VNI. */
export function planDomains(router: JudgedRouter, index: number): EdgeDomain[] {
  const vnis = new Map(router.vpcs.flatMap((vpc) => (vpc.vni === undefined ? [] : [[vpc.name, vpc.vni]])));
  const subnets = subnetsByVpc(router.subnets);
  return router.vpcs
    .flatMap((vpc) => domainOf(vpc, { router, index, vnis, subnets }) ?? [])
    .sort((a, b) => a.vni - b.vni);
}

interface Around {
  readonly router: JudgedRouter;
  readonly index: number;
  /** L3VNIs of VPCs that are on the node, by name. */
  readonly vnis: ReadonlyMap<string, number>;
  readonly subnets: ReadonlyMap<string, readonly Subnet[]>;
}

/** Undefined for a VPC without VNI and Subnets, of which nothing would be there. */
function domainOf(vpc: Vpc, around: Around): EdgeDomain | undefined {
  const segments = [...(around.subnets.get(vpc.name) ?? [])]
    .flatMap((subnet) => segmentOf(subnet, vpc, around) ?? [])
    .sort((a, b) => a.vni - b.vni);
  const vni = vpc.vni ?? segments[0]?.vni;
  if (vni === undefined) return undefined;
  return {
    vpc: vpc.name,
    vni,
    ...(vpc.routed ? { routing: routingOf(vpc, segments, around) } : {}),
    segments,
  };
}

function segmentOf(subnet: Subnet, vpc: Vpc, { router }: Around): EdgeSegment | undefined {
  const { vni, prefixes, gateways, hostLink, hostBridge } = subnet;
  if (vni === undefined) return undefined;
  const family = familyOf(subnet.underlay?.family, router.underlay);
  const linked = hostLink !== undefined || hostBridge !== undefined;
  return {
    subnet: subnet.name,
    vni,
    port: subnet.port ?? VXLAN_PORT,
    family,
    ...targetsFor(subnet, { asn: router.underlay.asn, vni, rd: subnet.underlay?.rd }),
    prefixes,
    gateways: vpc.routed
      ? prefixes.flatMap((prefix, i): InterfaceAddress[] => {
          const ip = gateways[i];
          return ip === undefined ? [] : [{ ip, length: prefix.length }];
        })
      : [],
    ...(subnet.gatewayMac === undefined ? {} : { gatewayMac: subnet.gatewayMac }),
    ...(subnet.mtuBytes === undefined ? {} : { mtuBytes: subnet.mtuBytes }),
    overheadBytes: vxlanOverhead(family),
    ...(linked ? { hostLink: hostLink ?? segmentHostLink(vni) } : {}),
    ...(hostBridge === undefined
      ? {}
      : { hostBridge: { name: hostBridge.name ?? segmentHostBridge(vni), managed: hostBridge.managed } }),
  };
}

/** As FRR makes them: exported with the low 16 bits of the AS number, imported whoever exported them. */
function targetsFor(
  of: Pick<Vpc, "importTargets" | "exportTargets">,
  { asn, vni, rd }: { readonly asn: number; readonly vni: number; readonly rd: string | undefined },
): FabricTargets {
  return {
    importTargets: of.importTargets ?? [`*:${vni}`],
    exportTargets: of.exportTargets ?? [`${asn & 0xffff}:${vni}`],
    ...(rd === undefined ? {} : { rd }),
  };
}

function routingOf(
  vpc: Vpc,
  segments: readonly EdgeSegment[],
  { router, index, vnis }: Around,
): DomainRouting {
  const underlay = vpc.underlay as NonNullable<Vpc["underlay"]>;
  const vni = vpc.vni as number;
  const family = familyOf(underlay.family, router.underlay);
  const asn = vpc.hostSession?.asn ?? router.underlay.asn;
  const host =
    vpc.hostSession &&
    hostLeg({
      session: vpc.hostSession,
      index,
      hostLink: hostLegLink(vni),
      overheadBytes: vxlanOverhead(family),
    });
  const own = underlay.subnets
    ? segments.flatMap(({ gateways, prefixes }) => (gateways.length > 0 ? [...prefixes] : []))
    : [];
  return {
    ...targetsFor(vpc, { asn, vni, rd: underlay.rd }),
    port: underlay.port ?? VXLAN_PORT,
    family,
    announce: distinct([...own, ...(host === undefined ? [] : hostPrefixes(host)), ...underlay.announce]),
    hosts: underlay.hosts,
    ...(underlay.import === undefined ? {} : { import: underlay.import }),
    ...(underlay.export === undefined ? {} : { export: underlay.export }),
    routes: underlay.routes,
    leaks: underlay.leaks.flatMap(({ from, prefixes }): EdgeLeak[] => {
      const other = vnis.get(from);
      return other === undefined ? [] : [{ from: other, prefixes }];
    }),
    ...(host === undefined ? {} : { host }),
  };
}

/** Each once, in order of text, so that a plan does not depend on the order of resources. */
function distinct(prefixes: readonly Prefix[]): Prefix[] {
  const all = new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix]));
  return [...all].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, prefix]) => prefix);
}
