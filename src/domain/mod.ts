/**
 * domain: routing domains, the tenants' private networks (VPCs), as desired state. Pure: what the register says, what is attached here and
 * what EVPN tells of elsewhere in; kernel objects and announcements out.
 *
 * It leaves addresses to `ipam`, BGP to `bgp`, and namespaces, engines and time to the agent.
 */
export { FIRST_VNI } from "./admit-vnis.ts";
export {
  admit,
  type AdmitContext,
  AdmissionError,
  type Admitted,
  type TenantChange,
  type TenantName,
} from "./admit.ts";
export * from "./cluster-router.ts";
export { compileFloatingIps, compileGateways, compileGroups } from "./compile-outside.ts";
export { type AllowedService, compileServices } from "./compile-services.ts";
export { compileDomains, gatewayMac, MAX_OPEN_VNI, openDomain } from "./compile.ts";
export * from "./domain-objects.ts";
export * from "./entitlement.ts";
export * from "./floating-ip.ts";
export * from "./gateway-choice.ts";
export * from "./gateway-host.ts";
export * from "./group-members.ts";
export * from "./guard.ts";
export * from "./model.ts";
export * from "./mtu.ts";
export * from "./names.ts";
export * from "./nat-gateway.ts";
export { onlyInFile } from "./only-in-file.ts";
export * from "./outside-vteps.ts";
export * from "./peering-objects.ts";
export * from "./remote-table.ts";
export * from "./remotes.ts";
export {
  mayServe,
  mayUse,
  type Not,
  type Resolved,
  resolveSegment,
  type SegmentContext,
  type SegmentWish,
} from "./resolve.ts";
export * from "./security-group.ts";
export * from "./security-ports.ts";
export * from "./segment-objects.ts";
export * from "./service-names.ts";
export * from "./tunnel.ts";
export * from "./service-ruleset.ts";
export * from "./take-over.ts";
export { autoTarget, targetsOf } from "./targets.ts";
export * from "./vtep-claims.ts";
export * from "./vxlan-port.ts";
