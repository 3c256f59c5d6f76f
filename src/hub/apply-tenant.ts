/** Commands on tenants' networks: resources are put and deleted together, all or none. */
import {
  admit,
  type AdmitContext,
  AdmissionError,
  type Admitted,
  mayServe,
  type TenantChange,
  type TenantName,
} from "../domain/mod.ts";
import { type EdgeChange, edgeProblems } from "../edge/mod.ts";
import { type GatewayChange, gatewayProblems } from "../gateway/mod.ts";
import {
  canonicalJson,
  type EdgeNode,
  type Mesh,
  type Node,
  resourceJson,
  tenantKey,
  type TenantResource,
  type TenantResources,
} from "../resources/mod.ts";
import type { Handlers, Of } from "./apply.ts";
import { Refusal } from "./refusal.ts";
import type { Tables } from "./tables.ts";
import { ownersAfterDelete, ownersAfterPut } from "./tenant-owner.ts";
import { type Owners, readTenant } from "./tenant-store.ts";

/** PutResult says what became of a resource. */
export interface PutResult {
  readonly resource: TenantResource;
  readonly change: "created" | "changed" | "unchanged";
}

function put(tables: Tables, { resources, ...asker }: Of<"put-resources" | "put-gateways">): PutResult[] {
  const before = tables.tenants.all();
  const set = resources.map(needTenant);
  const results = (all: readonly TenantResource[]): PutResult[] =>
    all.map((resource) => ({ resource, change: changeOf(resource, before) }));
  // Whose it is comes first: what else is wrong is of no use to who may not change it.
  const owners = ownersAfterPut(tables.tenants.owners(), results(set), asker);
  const admitted = admitOrRefuse(tables, { set, remove: [] });
  store(tables, admitted, [], owners);
  return results(admitted.set);
}

/** apply holds the commands on tenants' networks. */
export const apply = {
  "put-resources": put,
  "put-gateways": put,

  "delete-resources"(tables, { resources, ...asker }) {
    const inUse = (name: TenantName) => (asker.force === true ? undefined : usersOf(tables, name));
    const before = tables.tenants.all();
    const there = resources.filter(({ kind, name }) => before[kind].has(name));
    const owners = ownersAfterDelete(tables.tenants.owners(), there, asker);
    store(tables, admitOrRefuse(tables, { set: [], remove: resources }, { inUse }), resources, owners);
  },
} as const satisfies Handlers<"put-resources" | "put-gateways" | "delete-resources">;

/** Who has addresses of a Subnet. Nodes keep an empty block for a while; whose pods they are the register does not know. */
function usersOf({ claims }: Tables, { kind, name }: TenantName): string | undefined {
  if (kind !== "Subnet") return undefined;
  const blocks = ([4, 6] as const).map((family) => claims.counts(name, family));
  const owned = claims.countOwned(name, 4) + claims.countOwned(name, 6);
  const most = Math.max(...blocks.map(({ nodes }) => nodes));
  const users = [
    most === 0 ? "" : `${most} ${most === 1 ? "node" : "nodes"} with addresses of it`,
    owned === 0 ? "" : `owners of ${owned} fixed ${owned === 1 ? "address" : "addresses"}`,
  ].filter(Boolean);
  return users.length === 0 ? undefined : `${users.join(" and ")} (causeway vpc addresses ${name})`;
}

function store(tables: Tables, admitted: Admitted, remove: readonly TenantName[], owners: Owners): void {
  tables.tenants.store(admitted, remove, owners);
  // Blocks end when their nodes return them: pods of a Subnet that was deleted by force may still be there.
  for (const { kind, name } of remove) if (kind === "Subnet") tables.claims.removeOwners(name);
  for (const { kind, name } of remove) tables.ledger.withdraw(tenantKey(kind, name));
  for (const resource of admitted.set)
    tables.ledger.publish(tenantKey(resource.kind, resource.value.name), resourceJson(resource));
}

/** Judged on every node only where something is at the edge: there are many nodes, and most registers have none. */
function edgeRules(
  tables: Tables,
  change: Omit<EdgeChange, "nodes" | "mesh">,
): ReturnType<typeof edgeProblems> {
  const { after, before } = change;
  const some = [after, before].some(
    ({ Underlay, VPC }) =>
      Underlay.size > 0 || [...VPC.values()].some(({ underlay }) => underlay !== undefined),
  );
  const edge = change.set.some(
    ({ kind, value }) =>
      kind === "Subnet" && (value.underlay ?? value.hostLink ?? value.hostBridge) !== undefined,
  );
  if (!some && !edge) return [];
  const mesh = tables.mesh() as Mesh;
  return edgeProblems({ ...change, mesh, nodes: tables.nodes.all().map((node) => edgeNode(node, mesh)) });
}

/** A node's index in pools is its number in the register, from 0: it never changes, and is not soon another's. */
function edgeNode({ name, hub, role, site, labels = {}, overlay4 }: Node, mesh: Mesh): EdgeNode {
  return {
    name,
    hub,
    labels,
    ...(role === undefined ? {} : { role }),
    ...(site === undefined ? {} : { site }),
    index: Number(overlay4.value - mesh.overlay4.value) - 1,
  };
}

/** A node that is not there yet may serve what does not choose. */
function gatewayRules(
  tables: Tables,
  change: Omit<GatewayChange, "mayServe">,
): ReturnType<typeof gatewayProblems> {
  return gatewayProblems({
    ...change,
    mayServe: (vpc, name) => {
      const node = tables.nodes.byName(name) ?? { name, hub: false };
      return mayServe(change.after.VPC.get(vpc) ?? {}, node);
    },
  });
}

function admitOrRefuse(
  tables: Tables,
  wanted: TenantChange,
  more: Pick<AdmitContext, "inUse"> = {},
): Admitted {
  const context: AdmitContext = {
    ...more,
    mesh: tables.mesh() as Mesh,
    nextVni: tables.tenants.nextVni,
    rules: (judged) => [...edgeRules(tables, judged), ...gatewayRules(tables, judged)],
  };
  try {
    return admit(tables.tenants.all(), wanted, context);
  } catch (error) {
    if (error instanceof AdmissionError) throw new Refusal("not-admitted", error.message);
    throw error;
  }
}

function changeOf(resource: TenantResource, before: TenantResources): PutResult["change"] {
  const old = before[resource.kind].get(resource.value.name);
  if (old === undefined) return "created";
  // A VNI that was given stays, whether it is said again or not.
  const given = "vni" in old && !("vni" in resource.value) ? { vni: old.vni } : {};
  const [now, was] = [{ ...resource.value, ...given }, old].map((value) =>
    canonicalJson(resourceJson({ kind: resource.kind, value } as TenantResource)),
  );
  return now === was ? "unchanged" : "changed";
}

function needTenant(json: unknown): TenantResource {
  const resource = readTenant(json);
  if (resource === undefined)
    throw new Refusal("bad-request", "A resource cannot be understood; use the same version everywhere");
  return resource;
}
