/**
 * What a token binds of a newcomer: its role and its site. Rules judge nodes by both, so a newcomer never chooses a role, and a
 * site only where it means nothing to the rules.
 */
import type { Mesh, Node, TenantResources } from "../resources/mod.ts";
import { Refusal } from "./refusal.ts";

/** BoundIdentity is what rules will see of a newcomer beside its name. */
export interface BoundIdentity {
  /** Absent: what the node is says it. */
  readonly role?: string;
  readonly site?: string;
}

/** NO_ROLE is the role of a token that binds none. */
export const NO_ROLE = "node";

/**
 * boundIdentity returns role and site of a newcomer, or throws Refusal if it asks for another site than it may have. `old` is the node
 * whose place it takes: that keeps what the token does not change.
 */
export function boundIdentity(
  use: { readonly role: string; readonly site?: string },
  wanted: { readonly site?: string | undefined },
  context: {
    readonly mesh: Pick<Mesh, "rules">;
    readonly tenants: TenantResources;
    readonly old?: Pick<Node, "role" | "site"> | undefined;
  },
): BoundIdentity {
  const { mesh, tenants, old } = context;
  if (use.site !== undefined && wanted.site !== undefined && wanted.site !== use.site)
    throw new Refusal(
      "not-bound",
      `The token is for site ${use.site}; join without --site, or ask for a token for site ${wanted.site}`,
    );
  const chosen = use.site === undefined && wanted.site !== old?.site ? wanted.site : undefined;
  if (chosen !== undefined && namedSites(mesh, tenants).has(chosen))
    throw new Refusal(
      "not-bound",
      `Site ${chosen} is named by a rule of the mesh or by tenants' resources, so only a token can give it; ask for one made with --site ${chosen}`,
    );
  const role = use.role === NO_ROLE ? old?.role : use.role;
  const site = use.site ?? wanted.site ?? old?.site;
  return { ...(role === undefined ? {} : { role }), ...(site === undefined ? {} : { site }) };
}

/** Sites by which somebody may do more than others. */
function namedSites(mesh: Pick<Mesh, "rules">, { VPC, NatGateway }: TenantResources): ReadonlySet<string> {
  return new Set([
    ...(mesh.rules ?? []).flatMap(({ from, to }) => [...(from.site ?? []), ...(to.site ?? [])]),
    ...[...VPC.values(), ...NatGateway.values()].flatMap(({ nodes }) => nodes?.site ?? []),
  ]);
}
