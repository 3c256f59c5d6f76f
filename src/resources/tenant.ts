/** The kinds of resources that tenants' networks, and their ways to other sites, are made of, in a table that manifests, the register and the command line read. */
import type { z } from "zod";
import type { Json } from "./canonical.ts";
import { floatingIpFields, floatingIpFromSpec, floatingIpSpec, type FloatingIp } from "./floating-ip.ts";
import { type Gateway, gatewayFields, gatewayFromSpec, gatewaySpec } from "./gateway.ts";
import { natGatewayFields, natGatewayFromSpec, natGatewaySpec, type NatGateway } from "./nat-gateway.ts";
import { type Peering, peeringFields, peeringFromSpec, peeringSpec } from "./peering.ts";
import { type Route, routeFields, routeFromSpec, routeSpec } from "./route.ts";
import {
  type SecurityGroup,
  securityGroupFields,
  securityGroupFromSpec,
  securityGroupSpec,
} from "./security-group.ts";
import { type Subnet, subnetFields, subnetFromSpec, subnetSpec } from "./subnet.ts";
import { type Underlay, underlayFields, underlayFromSpec, underlaySpec } from "./underlay.ts";
import { type Vpc, vpcFields, vpcFromSpec, vpcSpec } from "./vpc.ts";

/** TenantValues are the values by kind. */
export interface TenantValues {
  readonly VPC: Vpc;
  readonly Subnet: Subnet;
  readonly Peering: Peering;
  readonly NatGateway: NatGateway;
  readonly FloatingIP: FloatingIp;
  readonly SecurityGroup: SecurityGroup;
  readonly Underlay: Underlay;
  readonly Gateway: Gateway;
  readonly Route: Route;
}

/** TenantKind is the kind of one of them. */
export type TenantKind = keyof TenantValues;

/** TenantResource is one of them. */
export type TenantResource = {
  readonly [K in TenantKind]: { readonly kind: K; readonly value: TenantValues[K] };
}[TenantKind];

type Report = (field: string, value: string, problem: string) => void;
type Fields = { readonly [name: string]: z.ZodType };

interface Entry<V, F extends Fields = never> {
  /** Lower case with hyphens: how the command line calls it, and what keys of its entries begin with. */
  readonly word: string;
  readonly fields: F;
  readonly fromSpec: (name: string, spec: z.output<z.ZodObject<F>>, report: Report) => V;
  readonly spec: (value: V) => { readonly [field: string]: Json };
}

const entry = <V, F extends Fields>(word: string, rest: Omit<Entry<V, F>, "word">): Entry<V> =>
  ({ word, ...rest }) as never;

/** tenantKinds is the table; what others refer to comes first. */
export const tenantKinds: { readonly [K in TenantKind]: Entry<TenantValues[K]> } = {
  VPC: entry("vpc", { fields: vpcFields, fromSpec: vpcFromSpec, spec: vpcSpec }),
  Subnet: entry("subnet", { fields: subnetFields, fromSpec: subnetFromSpec, spec: subnetSpec }),
  Peering: entry("peering", { fields: peeringFields, fromSpec: peeringFromSpec, spec: peeringSpec }),
  NatGateway: entry("nat-gateway", {
    fields: natGatewayFields,
    fromSpec: natGatewayFromSpec,
    spec: natGatewaySpec,
  }),
  FloatingIP: entry("floating-ip", {
    fields: floatingIpFields,
    fromSpec: floatingIpFromSpec,
    spec: floatingIpSpec,
  }),
  SecurityGroup: entry("security-group", {
    fields: securityGroupFields,
    fromSpec: securityGroupFromSpec,
    spec: securityGroupSpec,
  }),
  Underlay: entry("underlay", {
    fields: underlayFields,
    fromSpec: underlayFromSpec,
    spec: underlaySpec,
  }),
  Gateway: entry("gateway", { fields: gatewayFields, fromSpec: gatewayFromSpec, spec: gatewaySpec }),
  Route: entry("route", { fields: routeFields, fromSpec: routeFromSpec, spec: routeSpec }),
};

/** isTenantKind tells these kinds from others. */
export function isTenantKind(kind: string): kind is TenantKind {
  return Object.hasOwn(tenantKinds, kind);
}

/** tenantWords are the words of all kinds. */
export const tenantWords: readonly string[] = Object.values(tenantKinds).map(({ word }) => word);

/** tenantKindOf returns the kind that a word means; undefined for none. */
export function tenantKindOf(word: string): TenantKind | undefined {
  return (Object.keys(tenantKinds) as TenantKind[]).find((kind) => tenantKinds[kind].word === word);
}

/** tenantKey returns the key under which a resource is published: `vpc/team-a`. */
export function tenantKey(kind: TenantKind, name: string): string {
  return `${tenantKinds[kind].word}/${name}`;
}
