/** Ways out: a VPC has one gateway, an outside address one meaning, and what it leads to is an address of the VPC. */
import {
  formatIp,
  formatPrefix,
  type Ip,
  ipEqual,
  prefixAddress,
  prefixContains,
  prefixCovers,
  prefixLast,
} from "../net/mod.ts";
import type { FloatingIp, NatGateway, Subnet, TenantResources } from "../resources/mod.ts";
import type { Judged, TenantName } from "./admit.ts";

/** outsideProblems reports gateways and floating addresses that cannot work. A Subnet that one of them needs cannot be removed. */
export function outsideProblems(judged: Judged): void {
  const { after, change, report } = judged;
  for (const { kind, value } of change.set)
    if (kind === "NatGateway") gatewayProblems(value, judged);
    else if (kind === "FloatingIP") floatingProblems(value, judged);
  for (const { kind, name } of change.remove) {
    const subnet = kind === "Subnet" ? judged.before.Subnet.get(name) : undefined;
    const user = subnet && userOf(subnet, after);
    if (user !== undefined) report({ kind, name }, { problem: `is used by ${user}; delete that first` });
  }
}

function subnetsOf(tenants: TenantResources, vpc: string): Subnet[] {
  return [...tenants.Subnet.values()].filter((subnet) => subnet.vpc === vpc);
}

function userOf(subnet: Subnet, after: TenantResources): string | undefined {
  for (const { name, vpc, prefixes = [] } of after.NatGateway.values())
    if (vpc === subnet.vpc)
      for (const prefix of prefixes)
        if (subnet.prefixes.some((own) => prefixCovers(own, prefix)))
          return `NatGateway "${name}" (spec.prefixes ${formatPrefix(prefix)})`;
  for (const { name, gateway, target } of after.FloatingIP.values())
    if (
      after.NatGateway.get(gateway)?.vpc === subnet.vpc &&
      subnet.prefixes.some((own) => prefixContains(own, target))
    )
      return `FloatingIP "${name}" (spec.target ${formatIp(target)})`;
  return undefined;
}

function gatewayProblems(value: NatGateway, { after, report, ...judged }: Judged): void {
  const self: TenantName = { kind: "NatGateway", name: value.name };
  const other = [...after.NatGateway.values()].find(
    ({ name, vpc }) => name !== value.name && vpc === value.vpc,
  );
  if (other !== undefined)
    report(self, {
      field: "spec.vpc",
      value: value.vpc,
      problem: `has NatGateway "${other.name}" already; a VPC has one: add nodes to that one (spec.nodes)`,
    });
  const own = subnetsOf(after, value.vpc).flatMap(({ prefixes }) => prefixes);
  value.prefixes?.forEach((prefix, i) => {
    if (!own.some((one) => prefixCovers(one, prefix)))
      report(self, {
        field: `spec.prefixes[${i}]`,
        value: formatPrefix(prefix),
        problem: `is in no Subnet of VPC "${value.vpc}"; name networks of ${own.map(formatPrefix).join(", ") || "its Subnets, of which there are none"}`,
      });
  });
  value.externalAddresses.forEach((address, i) => {
    const problem = takenProblem(address, self, { after, mesh: judged.mesh });
    if (problem !== undefined)
      report(self, { field: `spec.externalAddresses[${i}]`, value: formatIp(address), problem });
  });
}

/** Who has an outside address already. */
function takenProblem(
  address: Ip,
  self: TenantName,
  { after, mesh }: Pick<Judged, "after" | "mesh">,
): string | undefined {
  const fix = "choose another";
  for (const field of ["overlay4", "overlay6", "enrol6", "pods4", "pods6"] as const) {
    const prefix = mesh[field];
    if (prefix !== undefined && prefixContains(prefix, address))
      return `is in the mesh's ${field} ${formatPrefix(prefix)}; ${fix}, of the outside`;
  }
  const service = mesh.services.find((prefix) => prefixContains(prefix, address));
  if (service !== undefined)
    return `is in the mesh's services ${formatPrefix(service)}; ${fix}, of the outside`;
  for (const { name, externalAddresses } of after.NatGateway.values())
    if (
      (self.kind !== "NatGateway" || name !== self.name) &&
      externalAddresses.some((one) => ipEqual(one, address))
    )
      return `is that of NatGateway "${name}"; ${fix}`;
  for (const { name, address: one } of after.FloatingIP.values())
    if ((self.kind !== "FloatingIP" || name !== self.name) && ipEqual(one, address))
      return `is that of FloatingIP "${name}"; ${fix}`;
  return undefined;
}

function floatingProblems(value: FloatingIp, { after, mesh, report }: Judged): void {
  const self: TenantName = { kind: "FloatingIP", name: value.name };
  const taken = takenProblem(value.address, self, { after, mesh });
  if (taken !== undefined)
    report(self, { field: "spec.address", value: formatIp(value.address), problem: taken });
  const vpc = after.NatGateway.get(value.gateway)?.vpc as string;
  const problem = targetProblem(value.target, vpc, after) ?? secondProblem(value, vpc, after);
  if (problem !== undefined) report(self, { field: "spec.target", value: formatIp(value.target), problem });
}

function targetProblem(target: Ip, vpc: string, after: TenantResources): string | undefined {
  const subnets = subnetsOf(after, vpc);
  const all = subnets.flatMap(({ prefixes }) => prefixes);
  const subnet = subnets.find(({ prefixes }) => prefixes.some((prefix) => prefixContains(prefix, target)));
  const prefix = subnet?.prefixes.find((one) => prefixContains(one, target));
  if (subnet === undefined || prefix === undefined)
    return `is in no Subnet of VPC "${vpc}"; write an address of ${all.map(formatPrefix).join(", ") || "its Subnets, of which there are none"}`;
  const isEdge =
    ipEqual(target, prefixAddress(prefix)) || (target.family === 4 && ipEqual(target, prefixLast(prefix)));
  if (isEdge || subnet.gateways.some((gateway) => ipEqual(gateway, target)))
    return `is no pod's address in Subnet "${subnet.name}", but its gateway, first or last one; write a pod's`;
  return undefined;
}

function secondProblem(
  { name, target }: FloatingIp,
  vpc: string,
  after: TenantResources,
): string | undefined {
  const other = [...after.FloatingIP.values()].find(
    (one) =>
      one.name !== name && after.NatGateway.get(one.gateway)?.vpc === vpc && ipEqual(one.target, target),
  );
  return other && `has FloatingIP "${other.name}" already; one address has one`;
}
