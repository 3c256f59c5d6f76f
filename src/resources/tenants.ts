/** All resources of tenants' networks together, by name. */
import type { TenantKind, TenantResource, TenantValues } from "./tenant.ts";

/** TenantResources holds all of one register, by kind and name. */
export type TenantResources = {
  readonly [K in TenantKind]: ReadonlyMap<string, TenantValues[K]>;
};

/** noTenants is where nothing was made. */
export const noTenants: TenantResources = {
  VPC: new Map(),
  Subnet: new Map(),
  Peering: new Map(),
  NatGateway: new Map(),
  FloatingIP: new Map(),
  SecurityGroup: new Map(),
  Underlay: new Map(),
  Gateway: new Map(),
  Route: new Map(),
};

type Changing = { [K in TenantKind]: Map<string, TenantValues[K]> };

/** withTenants returns `before` with some resources set and others gone. */
export function withTenants(
  before: TenantResources,
  change: {
    readonly set?: readonly TenantResource[];
    readonly remove?: readonly { readonly kind: TenantKind; readonly name: string }[];
  },
): TenantResources {
  const { set = [], remove = [] } = change;
  const next = Object.fromEntries(
    Object.entries(before).map(([kind, values]) => [kind, new Map<string, unknown>(values)]),
  ) as never as Changing;
  for (const { kind, name } of remove) next[kind].delete(name);
  for (const { kind, value } of set) (next[kind] as Map<string, unknown>).set(value.name, value);
  return next;
}

/**
 * countsBefore tells whether a SecurityGroup of a node's files counts before the register's of that name: one of another VPC would cut the pods of
 * the register's off.
 */
export function countsBefore(
  { name, vpc }: { readonly name: string; readonly vpc: string },
  { SecurityGroup: registered }: Pick<TenantResources, "SecurityGroup">,
): boolean {
  return (registered.get(name)?.vpc ?? vpc) === vpc;
}

/** withFiles returns what the register has together with what files of a node have, which counts before it. */
export function withFiles(registered: TenantResources, files: readonly TenantResource[]): TenantResources {
  const set = files.filter(({ kind, value }) => kind !== "SecurityGroup" || countsBefore(value, registered));
  return withTenants(registered, { set });
}

/** tenantsOf collects resources; those of other kinds are passed over. */
export function tenantsOf(resources: readonly TenantResource[]): TenantResources {
  return withTenants(noTenants, { set: resources });
}

/** tenantList returns all of them, in order of kinds and names. */
export function tenantList(tenants: TenantResources): TenantResource[] {
  return (Object.keys(noTenants) as TenantKind[]).flatMap((kind) =>
    [...tenants[kind].values()]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((value) => ({ kind, value }) as TenantResource),
  );
}
