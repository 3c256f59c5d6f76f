/** Tables of resources for people: a line for each, the columns by kind. */
import { formatIp, formatPrefix } from "../net/mod.ts";
import {
  formatEdgeSelector,
  formatSelector,
  peeredPrefixes,
  type TenantKind,
  type TenantResources,
  type TenantValues,
  underlayNeighborName,
  type VpcAllow,
} from "../resources/mod.ts";
import { table } from "./table.ts";

interface Columns<V> {
  readonly header: readonly string[];
  readonly row: (value: V, all: TenantResources) => readonly string[];
}

function allowed(allow: VpcAllow | undefined): string {
  if (allow === undefined) return "nobody";
  const labels = Object.entries(allow.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return [...(allow.namespaces ?? []), ...labels].join(", ");
}

const columns: { readonly [K in TenantKind]: Columns<TenantValues[K]> } = {
  VPC: {
    header: ["VPC", "VNI", "SUBNETS", "PODS OF", "NODES"],
    row: ({ name, vni, allow, nodes }, { Subnet }) => [
      name,
      `${vni ?? ""}`,
      String([...Subnet.values()].filter(({ vpc }) => vpc === name).length),
      allowed(allow),
      formatSelector(nodes ?? {}),
    ],
  },
  Subnet: {
    header: ["SUBNET", "VPC", "VNI", "NETWORKS", "GATEWAYS"],
    row: ({ name, vpc, vni, prefixes, gateways }) => [
      name,
      vpc,
      `${vni ?? ""}`,
      prefixes.map(formatPrefix).join(", ") || "none",
      gateways.map(formatIp).join(", "),
    ],
  },
  Peering: {
    header: ["PEERING", "VPCS", "REACHED"],
    row: (peering) => [
      peering.name,
      peering.vpcs.join(", "),
      peering.vpcs
        .map((vpc) => `${vpc}: ${peeredPrefixes(peering, vpc)?.map(formatPrefix).join(", ") ?? "all"}`)
        .join("; "),
    ],
  },
  NatGateway: {
    header: ["NAT GATEWAY", "VPC", "NODES", "FOR", "SEEN AS"],
    row: ({ name, vpc, nodes, prefixes, externalAddresses }) => [
      name,
      vpc,
      formatSelector(nodes),
      prefixes?.map(formatPrefix).join(", ") ?? "all",
      externalAddresses.map(formatIp).join(", ") || "the node's address",
    ],
  },
  FloatingIP: {
    header: ["FLOATING IP", "ADDRESS", "TARGET", "GATEWAY"],
    row: ({ name, address, target, gateway }) => [name, formatIp(address), formatIp(target), gateway],
  },
  SecurityGroup: {
    header: ["SECURITY GROUP", "VPC", "RULES"],
    row: ({ name, vpc, rules }) => [name, vpc, String(rules.length)],
  },
  Underlay: {
    header: ["UNDERLAY", "ROUTER", "ASN", "LINKS", "NEIGHBORS", "NODES"],
    row: ({ name, router, asn, links, neighbors, nodes }) => [
      name,
      router,
      String(asn),
      links.map((link) => link.name).join(", "),
      neighbors.map(underlayNeighborName).join(", "),
      formatEdgeSelector(nodes ?? {}),
    ],
  },
  Gateway: {
    header: ["GATEWAY", "NODE", "INSIDE", "QUEUES", "ROUTES"],
    row: ({ name, node, vpc, private: side, public: sides }, { Route }) => [
      name,
      node,
      vpc === undefined ? (side?.interface ?? side?.pci ?? "") : `VPC ${vpc}`,
      String(sides.length),
      String([...Route.values()].filter(({ gateway }) => gateway === name).length),
    ],
  },
  Route: {
    header: ["ROUTE", "GATEWAY", "NETWORKS", "REMOTE GATEWAYS", "SPI", "EXCHANGE"],
    row: ({ name, gateway, prefixes, gateways, spi, exchange }) => [
      name,
      gateway,
      prefixes.map(formatPrefix).join(", "),
      gateways.map(({ ip }) => formatIp(ip)).join(", ") || "they call",
      String(spi),
      exchange,
    ],
  },
};

/** resourceTable returns the table of one kind's resources; `all` are those that columns count. */
export function resourceTable<K extends TenantKind>(
  kind: K,
  values: readonly TenantValues[K][],
  all: TenantResources,
): string {
  const { header, row } = columns[kind];
  return table(
    header,
    values.map((value) => row(value, all)),
  );
}
