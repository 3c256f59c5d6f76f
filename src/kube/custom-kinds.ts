/** How the kinds of resources are called in Kubernetes, what of them is shown there, and what the API server itself can see that never changes. */
import type { TenantKind } from "../resources/mod.ts";

/** PrintColumn is a column of `kubectl get`. */
export interface PrintColumn {
  readonly name: string;
  readonly type: "string" | "integer" | "date";
  readonly jsonPath: string;
  /** With `-o wide` only. */
  readonly wide?: boolean;
}

/** SpecRule is a rule of the Common Expression Language on `spec`, for API servers of 1.25 and later; the register has it too. */
export interface SpecRule {
  readonly rule: string;
  readonly message: string;
}

/** CustomKind is what Kubernetes needs to know of a kind beside its schema. */
export interface CustomKind {
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly about: string;
  readonly columns: readonly PrintColumn[];
  readonly rules: readonly SpecRule[];
}

const of = (name: string, jsonPath: string, type: PrintColumn["type"] = "string"): PrintColumn => ({
  name,
  type,
  jsonPath,
});

const VNI = of("VNI", ".status.vni", "integer");
const VPC = of("VPC", ".spec.vpc");
/** What nodes say of it: of VPCs and Subnets only where they are in a fabric. */
const UP = of("Up", `.status.conditions[?(@.type=="Up")].status`);
const NOT_UP: PrintColumn = {
  ...of("Not up", `.status.conditions[?(@.type=="Up")].message`),
  wide: true,
};

/** Absent and present are the same here: the register keeps what it gave. */
const optional = (field: string): SpecRule => ({
  rule: `!has(oldSelf.${field}) || !has(self.${field}) || self.${field} == oldSelf.${field}`,
  message: `spec.${field} never changes; delete the object and apply it anew`,
});

/** customKinds is the table, by kind. */
export const customKinds: { readonly [K in TenantKind]: CustomKind } = {
  VPC: {
    plural: "vpcs",
    shortNames: ["cwvpc"],
    about: "A tenant's private network: a routing domain of its own, on whichever nodes its pods run.",
    columns: [VNI, of("Namespaces", ".spec.allow.namespaces"), UP, NOT_UP],
    rules: [optional("vni"), optional("routed")],
  },
  Subnet: {
    plural: "subnets",
    shortNames: ["cwsub"],
    about: "One broadcast domain of a VPC, with a gateway that is the same on every node.",
    columns: [VPC, of("Prefixes", ".spec.prefixes"), VNI, UP, NOT_UP],
    rules: [optional("vni"), optional("vpc")],
  },
  Peering: {
    plural: "peerings",
    shortNames: ["cwpeer"],
    about: "Two VPCs that reach networks of each other.",
    columns: [of("VPCs", ".spec.vpcs")],
    rules: [],
  },
  NatGateway: {
    plural: "natgateways",
    shortNames: ["cwnat"],
    about: "A VPC's way out: source NAT, on chosen nodes.",
    columns: [VPC, of("Addresses", ".spec.externalAddresses")],
    rules: [optional("vpc")],
  },
  FloatingIP: {
    plural: "floatingips",
    shortNames: ["cwfip"],
    about: "An outside address that is one pod's, both ways.",
    columns: [of("Address", ".spec.address"), of("Target", ".spec.target"), of("Gateway", ".spec.gateway")],
    rules: [],
  },
  SecurityGroup: {
    plural: "securitygroups",
    shortNames: ["cwsg"],
    about: "What the pods that are in it may send and get.",
    columns: [VPC],
    rules: [optional("vpc")],
  },
  Underlay: {
    plural: "underlays",
    shortNames: ["cwul"],
    about: "How nodes take part in a data-centre fabric as provider-edge routers.",
    columns: [of("Router", ".spec.router"), of("ASN", ".spec.asn"), UP, NOT_UP],
    rules: [],
  },
  Gateway: {
    plural: "gateways",
    shortNames: ["cwgw"],
    about: "Joins a site, or a VPC, with other sites over IPsec, on one node.",
    columns: [of("Node", ".spec.node"), VPC],
    rules: [optional("vpc")],
  },
  Route: {
    plural: "routes",
    shortNames: ["cwrt"],
    about: "A tunnel of a Gateway to one remote site.",
    columns: [of("Gateway", ".spec.gateway"), of("Prefixes", ".spec.prefixes"), UP, NOT_UP],
    rules: [],
  },
};
