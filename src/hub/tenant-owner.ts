/** Whose resources of tenants' networks are: of two that want another thing of one name, the first one has it. */
import { tenantKey } from "../resources/mod.ts";
import type { TenantName } from "../domain/mod.ts";
import type { PutResult } from "./apply-tenant.ts";
import { Refusal } from "./refusal.ts";
import type { Owners } from "./tenant-store.ts";

/** Asker is who asks for a change. */
export interface Asker {
  /** The uid of a Kubernetes cluster's namespace kube-system; absent: somebody who may command a hub. */
  readonly owner?: string | undefined;
  /** Takes what is another one's. */
  readonly force?: boolean | undefined;
}

/**
 * ownersAfterPut returns whose all resources are after a put; throws Refusal where one is another one's. Who puts what is there already changes
 * nothing: a cluster then owns what nobody owned, and a hand leaves it to the cluster.
 */
export function ownersAfterPut(
  owners: Owners,
  put: readonly PutResult[],
  { owner, force = false }: Asker,
): Owners {
  const after = new Map(owners);
  const problems: string[] = [];
  for (const { resource, change } of put) {
    const { kind, value } = resource;
    const key = tenantKey(kind, value.name);
    const has = owners.get(key);
    const same = change === "unchanged" && (has === undefined || owner === undefined);
    if (!force && change !== "created" && !same && has !== owner)
      problems.push(putProblem({ kind, name: value.name }, has, owner));
    const now = same && !force ? (owner ?? has) : owner;
    if (now === undefined) after.delete(key);
    else after.set(key, now);
  }
  if (problems.length > 0) throw new Refusal("not-admitted", told(problems));
  return after;
}

/** ownersAfterDelete returns whose the others are; throws Refusal where one is another one's. */
export function ownersAfterDelete(
  owners: Owners,
  names: readonly TenantName[],
  { owner, force = false }: Asker,
): Owners {
  const after = new Map(owners);
  const problems: string[] = [];
  for (const one of names) {
    const key = tenantKey(one.kind, one.name);
    const has = owners.get(key);
    if (!force && has !== owner) problems.push(deleteProblem(one, has));
    after.delete(key);
  }
  if (problems.length > 0) throw new Refusal("not-admitted", told(problems));
  return after;
}

/** How many problems are told at once. */
const MAX_TOLD = 20;

function told(problems: readonly string[]): string {
  const rest = problems.length - MAX_TOLD;
  return [...problems.slice(0, MAX_TOLD), ...(rest > 0 ? [`and ${rest} more`] : [])].join("\n");
}

function putProblem({ kind, name }: TenantName, has: string | undefined, owner: string | undefined): string {
  const it = `${kind} "${name}":`;
  if (has === undefined)
    return `${it} there is another one that was made with causeway apply; apply the same here to own it, or choose another name`;
  if (owner === undefined)
    return `${it} belongs to the Kubernetes cluster ${has}; change it there with kubectl, or take it with --force`;
  return `${it} belongs to the Kubernetes cluster ${has}; delete it there, or choose another name`;
}

function deleteProblem({ kind, name }: TenantName, has: string | undefined): string {
  const it = `${kind} "${name}":`;
  return has === undefined
    ? `${it} was made with causeway apply; delete it with causeway delete`
    : `${it} belongs to the Kubernetes cluster ${has}; delete it there with kubectl, or here with --force`;
}
