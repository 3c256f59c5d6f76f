/** From resources to routing domains: what the register says of VPCs, Subnets and Peerings, with everything written out. */
import { mac, type Mac, type Prefix, type InterfaceAddress } from "../net/mod.ts";
import { peeredPrefixes, type Subnet, type TenantResources, type Vpc } from "../resources/mod.ts";
import type { Domain, DomainPeering, Segment } from "./model.ts";
import { autoTarget, targetsOf } from "./targets.ts";

/** MAX_OPEN_VNI is the last of the VNIs that are everybody's where no VPC or Subnet has them (Mesh.openVnis); the register gives those after it. */
export const MAX_OPEN_VNI = 4095;

/** `02:63:77`, locally administered, before the VNI. */
const GATEWAY_MAC = 0x02_63_77 * 2 ** 24;

/** gatewayMac returns the MAC address of a segment's gateway, the same on all nodes. */
export function gatewayMac(vni: number): Mac {
  return mac(GATEWAY_MAC + vni);
}

/** compileDomains returns a domain for each VPC, in order of VNIs. Open VNIs are none of them: see openDomain. */
export function compileDomains(tenants: TenantResources, { asn }: { readonly asn: number }): Domain[] {
  const subnets = byVpc(tenants);
  return [...tenants.VPC.values()]
    .flatMap((vpc) => domainOf(vpc, { asn, tenants, subnets }) ?? [])
    .sort((a, b) => a.vni - b.vni);
}

type Subnets = ReadonlyMap<string, readonly Subnet[]>;

function byVpc(tenants: TenantResources): Subnets {
  const found = new Map<string, Subnet[]>();
  for (const subnet of tenants.Subnet.values()) {
    const list = found.get(subnet.vpc);
    if (list === undefined) found.set(subnet.vpc, [subnet]);
    else list.push(subnet);
  }
  return found;
}

function domainOf(
  vpc: Vpc,
  context: { readonly asn: number; readonly tenants: TenantResources; readonly subnets: Subnets },
): Domain | undefined {
  const { asn, tenants, subnets } = context;
  // The register gives every VPC one; what has none was never admitted.
  if (vpc.vni === undefined) return undefined;
  return {
    name: vpc.name,
    vni: vpc.vni,
    ...(vpc.routed ? { routing: targetsOf(vpc, asn) } : {}),
    segments: (subnets.get(vpc.name) ?? [])
      .flatMap((subnet) => segmentOf(subnet, vpc, asn) ?? [])
      .sort((a, b) => a.vni - b.vni),
    peerings: [...tenants.Peering.values()]
      .flatMap((peering): DomainPeering[] => {
        const [a, b] = peering.vpcs;
        if (vpc.name !== a && vpc.name !== b) return [];
        const other = vpc.name === a ? b : a;
        const vni = tenants.VPC.get(other)?.vni;
        if (vni === undefined) return [];
        return [{ with: vni, prefixes: peeredPrefixes(peering, other) ?? allPrefixes(subnets.get(other)) }];
      })
      .sort((a, b) => a.with - b.with),
  };
}

function allPrefixes(subnets: readonly Subnet[] = []): Prefix[] {
  return subnets.flatMap(({ prefixes }) => [...prefixes]);
}

function segmentOf(subnet: Subnet, vpc: Vpc, asn: number): Segment | undefined {
  if (subnet.vni === undefined) return undefined;
  return {
    name: subnet.name,
    vni: subnet.vni,
    ...targetsOf(subnet, asn),
    prefixes: subnet.prefixes,
    gateways: vpc.routed ? gatewaysOf(subnet) : [],
    gatewayMac: subnet.gatewayMac ?? gatewayMac(subnet.vni),
    ...(subnet.mtuBytes === undefined ? {} : { mtuBytes: subnet.mtuBytes }),
    ...(subnet.port === undefined ? {} : { dstPort: subnet.port }),
  };
}

function gatewaysOf({ prefixes, gateways }: Subnet): InterfaceAddress[] {
  return prefixes.flatMap((prefix, i) => {
    const ip = gateways[i];
    return ip === undefined ? [] : [{ ip, length: prefix.length }];
  });
}

/** openDomain returns the domain of a VNI that is everybody's: one segment, nothing routed. */
export function openDomain(
  vni: number,
  { asn, dstPort }: { readonly asn: number; readonly dstPort?: number | undefined },
): Domain {
  const targets = [autoTarget(asn, vni)];
  const name = `vni-${vni}`;
  const segment: Segment = {
    name,
    vni,
    importTargets: targets,
    exportTargets: targets,
    prefixes: [],
    gateways: [],
    gatewayMac: gatewayMac(vni),
    ...(dstPort === undefined ? {} : { dstPort }),
  };
  return { name, vni, segments: [segment], peerings: [] };
}
