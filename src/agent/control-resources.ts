/** What the command line asks about tenants' networks: VPCs and what belongs to them. */
import {
  formatManifest,
  formatProblem,
  isTenantKind,
  type Json,
  type ManifestProblem,
  parseObject,
  present,
  resourceJson,
  type TenantKind,
  tenantList,
  type TenantResource,
  tenantKinds,
} from "../resources/mod.ts";
import type { UpState } from "../kube/mod.ts";
import type { Agent } from "./agent.ts";
import type { Handlers } from "./control.ts";
import { HubRole } from "./hub-role.ts";
import { upOf } from "./resource-up.ts";

function hubOf(agent: Agent, what: string): HubRole {
  if (agent.role instanceof HubRole) return agent.role;
  throw new Error(
    `Cannot ${what}: this node is not a hub${agent.role === undefined ? "; it has not joined a mesh" : "; ask there"}`,
  );
}

const kinds = Object.keys(tenantKinds).join(", ");
/** What to do with kinds that are not in the register in this way. */
const instead: { readonly [kind: string]: string } = { Mesh: "use causeway mesh apply" };

/** YAML was read by the command line: a large one takes longer than an agent may be away. */
function needTenants(given: readonly Json[]): TenantResource[] {
  const problems: ManifestProblem[] = [];
  const resources = given.flatMap((json) => parseObject(json, { problems }) ?? []);
  if (problems.length > 0) throw new Error(problems.map(formatProblem).join("\n"));
  return resources.map((resource) => {
    if (isTenant(resource)) return resource;
    const { kind, value } = resource;
    const remedy = instead[kind] ?? `the kinds are ${kinds}`;
    throw new Error(`${kind} "${value.name}": kind ${kind} is not applied; ${remedy}`);
  });
}

function isTenant(resource: { readonly kind: string }): resource is TenantResource {
  return isTenantKind(resource.kind);
}

function withStatus(resource: Json, { up, reason }: UpState): Json {
  return { ...(resource as { readonly [field: string]: Json }), status: present({ up, reason }) };
}

/** resourceHandlers answer the operations on tenants' resources. */
export const resourceHandlers: Pick<Handlers, "resource-apply" | "resource-get" | "resource-delete"> = {
  async "resource-apply"(agent, { resources, force }) {
    const { registrar, register } = hubOf(agent, "apply");
    const made = await registrar.putResources(needTenants(resources), { force });
    return {
      resources: made.map(({ resource: { kind, value }, change }) => ({
        kind,
        name: value.name,
        change,
        ...("vni" in value && value.vni !== undefined ? { vni: value.vni } : {}),
      })),
      revision: register.revision,
    };
  },

  "resource-get"(agent, { kind, name }) {
    if (agent.role === undefined) throw new Error("Cannot show resources: this node has not joined a mesh");
    const { tenants } = agent.role.view();
    const all = tenantList(tenants).filter(
      (one) => (kind === undefined || one.kind === kind) && (name === undefined || one.value.name === name),
    );
    if (name !== undefined && all.length === 0)
      throw new Error(
        `There is no ${kind} "${name}" in the register as this node knows it; see causeway get ${tenantKinds[kind as TenantKind].word}`,
      );
    const { role } = agent;
    const shown = all.map((one) => {
      const up = role instanceof HubRole ? upOf(role, { kind: one.kind, name: one.value.name }) : undefined;
      return up === undefined ? resourceJson(one) : withStatus(resourceJson(one), up);
    });
    return { resources: shown, manifest: formatManifest(all) };
  },

  async "resource-delete"(agent, { resources, force }) {
    await hubOf(agent, "delete").registrar.deleteResources(resources, { force });
    return {};
  },
};
