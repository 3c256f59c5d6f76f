/** Tenants' networks among the published entries. */
import {
  isTenantKind,
  noTenants,
  type Resource,
  type TenantResource,
  type TenantResources,
  tenantsOf,
  tenantWords,
} from "../resources/mod.ts";

const words: ReadonlySet<string> = new Set(tenantWords);

/** isTenantEntry tells whether an entry's key is that of a resource of tenants' networks, as `vpc/team-a`. */
export function isTenantEntry(key: string): boolean {
  return words.has(key.slice(0, key.indexOf("/")));
}

/** Made last, and of what: what is compiled from them costs, and is kept as long as they are the same object. */
const made = new WeakMap<object, { readonly of: readonly Resource[]; readonly tenants: TenantResources }>();

/** tenantsIn collects parsed resources; the same object again for `cache` as long as nothing has changed. */
export function tenantsIn(resources: readonly Resource[], cache: object): TenantResources {
  if (resources.length === 0) return noTenants;
  const last = made.get(cache);
  if (last?.of.length === resources.length && resources.every((one, i) => one === last.of[i]))
    return last.tenants;
  const tenants = tenantsOf(resources.filter((one): one is TenantResource => isTenantKind(one.kind)));
  made.set(cache, { of: resources, tenants });
  return tenants;
}
