/**
 * resources: everything that a user can ask for. One file per kind: schema, defaults, validation, example.
 *
 * The same manifest may lie in a directory, come from the hub or from Kubernetes; it is parsed here, once, with the same
 * errors. What a resource makes the kernel do is the affair of the features.
 *
 * @example
 * ```ts
 * const { resources, problems } = parseManifest(meshExample);
 * for (const problem of problems) throw new Error(formatProblem(problem));
 * formatManifest(resources);
 * ```
 */
export type { EvpnMac, EvpnRoutedWish, EvpnSegmentWish, EvpnWish } from "./bgp-evpn.ts";
export {
  type BfdOptions,
  bgpFamilies,
  type BgpFamily,
  type DynamicNeighbors,
  type FamilyOptions,
  type Neighbor,
  type NeighborOptions,
} from "./bgp-neighbor.ts";
export {
  asPathPattern,
  formatCommunity,
  formatPrefixRange,
  parseCommunity,
  type PolicyRule,
  type PrefixRange,
  type RouteChange,
  type RouteMatch,
} from "./bgp-policy.ts";
export {
  type BgpRouter,
  type RedistributeKind,
  bgpRouterExample,
  bgpRouterSpec,
  neighborName,
  neighborOptions,
} from "./bgp-router.ts";
export { type AddressRange, formatAddressRange, rangeHolds, rangesOverlap } from "./address-range.ts";
export { canonicalJson, type Json, present, withoutAbsent } from "./canonical.ts";
export { type FloatingIp, floatingIpExample } from "./floating-ip.ts";
export {
  type Gateway,
  type GatewayAddress,
  gatewayExample,
  type GatewayInterface,
  type PublicInterface,
} from "./gateway.ts";
export { type NatGateway, natGatewayExample } from "./nat-gateway.ts";
export { peeredPrefixes, type Peering, peeringExample } from "./peering.ts";
export {
  type PortRange,
  type SecurityGroup,
  securityGroupExample,
  securityProtocols,
  type SecurityRule,
} from "./security-group.ts";
export { type Subnet, subnetExample } from "./subnet.ts";
export {
  isTenantKind,
  tenantKey,
  type TenantKind,
  tenantKindOf,
  tenantKinds,
  type TenantResource,
  type TenantValues,
  tenantWords,
} from "./tenant.ts";
export {
  countsBefore,
  noTenants,
  tenantList,
  type TenantResources,
  tenantsOf,
  withFiles,
  withTenants,
} from "./tenants.ts";
export {
  type EdgeNode,
  type EdgeSelector,
  formatEdgeSelector,
  formatRequirement,
  type LabelRequirement,
  parseRequirement,
  selectsEdge,
} from "./edge-selector.ts";
export type { EdgeBfd, EdgeSession, PasswordReference } from "./edge-session.ts";
export { type HostSession } from "./host-session.ts";
export type { StaticRoute } from "./static-route.ts";
export type { HostBridge, SubnetUnderlay } from "./subnet-underlay.ts";
export {
  DEFAULT_ROUTER,
  type NodeIndex,
  type Passthrough,
  type TunnelEndpoint,
  type Underlay,
  underlayExample,
} from "./underlay.ts";
export { changedLink, type LinkMaker, type UnderlayLink } from "./underlay-link.ts";
export {
  fabricFamilies,
  type FabricFamily,
  type FamilyWish,
  type UnderlayNeighbor,
  underlayNeighborName,
} from "./underlay-neighbor.ts";
export type { Leak, VpcUnderlay } from "./vpc-underlay.ts";
export type { OutsideVtep } from "./vtep.ts";
export { type ServiceAllowance, type Vpc, type VpcAllow, vpcEdgeExample, vpcExample } from "./vpc.ts";
export * from "./manifest.ts";
export { ManifestReader } from "./manifest-reader.ts";
export {
  CLUSTER_BGP_PORT,
  type Mesh,
  meshExample,
  meshSpec,
  randomUla,
  type Reflectors,
  type Topology,
  topologies,
} from "./mesh.ts";
export { type Route, routeExample, type RouteGateway } from "./route.ts";
export { formatRule, formatSelector, type NodeSelector, type Rule, selects } from "./rules.ts";
export { MAX_NODE_BITS, nodeBitsProblem } from "./node-bits.ts";
export {
  type LabelChange,
  labelChangeSchema,
  MOST_LABELS,
  type NodeLabels,
  parseLabelChange,
  sameLabels,
  withLabels,
} from "./node-labels.ts";
export {
  type HubDistance,
  hubDistanceSchema,
  type Node,
  type Observation,
  nodeExample,
  nodeRole,
  nodeSpec,
  nodeStatus,
  tlsPinSchema,
} from "./node.ts";
export { EXTERNAL_ROLE, type ExternalPeer, peerExample, peerNetworks, peerSpec } from "./peer.ts";
export {
  endpointSchema,
  type ExposedPort,
  formatExposedPort,
  hostPortSchema,
  labelSchema,
  nameProblem,
  parseExposedPort,
  prefixSchema,
  publicKeySchema,
  siteSchema,
} from "./scalars.ts";
