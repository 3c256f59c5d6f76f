/** What is to be done for a custom resource, and what its status says then. Values in, values out. */
import {
  canonicalJson,
  formatProblem,
  isTenantKind,
  type Json,
  type ManifestProblem,
  parseObject,
  resourceJson,
  type TenantResource,
  type TenantResources,
} from "../resources/mod.ts";
import type { Condition, CustomObject, CustomStatus } from "./custom-object.ts";
import { ACCEPTED } from "./definition.ts";
import { fieldOf } from "./metadata.ts";

/** Verdict is what was decided of an object. */
export type Verdict =
  | { readonly is: "accepted"; readonly vni?: number }
  /** The manifest itself is wrong. */
  | { readonly is: "Invalid"; readonly message: string }
  /** It does not go together with what else there is. */
  | { readonly is: "NotAdmitted"; readonly message: string }
  /** It was deleted, and somebody uses it. */
  | { readonly is: "InUse"; readonly message: string };

/** Wanted is what an object asks the register for; `same`: it has that already. */
export type Wanted =
  { readonly resource: TenantResource; readonly same: boolean } | { readonly problem: string };

interface Read {
  readonly wanted: Wanted;
  /** What the register had when it was compared. */
  readonly had: TenantResource["value"] | undefined;
}

/** Wishes reads objects by the rules of manifests, and compares them with what the register has: again only when one of both is another value. */
export class Wishes {
  readonly #read = new WeakMap<CustomObject, Read>();

  /** of returns what an object asks for. */
  of(object: CustomObject, tenants: TenantResources): Wanted {
    const known = this.#read.get(object);
    const had = tenants[object.kind].get(object.name);
    if (known !== undefined && ("problem" in known.wanted || known.had === had)) return known.wanted;
    const read = known?.wanted ?? resourceOf(object);
    const wanted = "problem" in read ? read : comparedTo(had, read.resource);
    this.#read.set(object, { wanted, had });
    return wanted;
  }
}

function comparedTo(had: TenantResource["value"] | undefined, resource: TenantResource): Wanted {
  const same = had !== undefined && isSame(resource, { kind: resource.kind, value: had } as TenantResource);
  return { resource, same };
}

function resourceOf({
  kind,
  manifest,
}: CustomObject): { readonly resource: TenantResource } | { readonly problem: string } {
  const problems: ManifestProblem[] = [];
  const resource = parseObject(manifest, { problems });
  if (resource === undefined) return { problem: problems.map(formatProblem).join("\n") };
  return isTenant(resource) ? { resource } : { problem: `${kind} is no kind of a tenant's network` };
}

function isTenant(resource: { readonly kind: string }): resource is TenantResource {
  return isTenantKind(resource.kind);
}

/** A VNI that nobody asked for is the register's own affair. */
function isSame(wanted: TenantResource, had: TenantResource): boolean {
  const { spec: a } = resourceJson(wanted) as { readonly spec: { readonly [field: string]: Json } };
  const { spec: b } = resourceJson(had) as { readonly spec: { readonly [field: string]: Json } };
  const given = a["vni"] === undefined && b["vni"] !== undefined ? { vni: b["vni"] } : {};
  return canonicalJson({ ...a, ...given }) === canonicalJson(b);
}

/** RouteState is what the node that runs a Route says of it. */
export interface RouteState {
  readonly up: boolean;
  /** Why not, or what of it is wrong. */
  readonly reason?: string | undefined;
}

/** UP is the condition of a Route that packets go by. */
const UP = "Up";

const ACCEPTED_WORDS = "every node that may serve it is told";

/** statusOf returns what an object's status shall be; undefined when it is that already. */
export function statusOf(
  object: CustomObject,
  { verdict, route }: { readonly verdict: Verdict; readonly route?: RouteState | undefined },
  now: string,
): CustomStatus | undefined {
  const { generation, status: old } = object;
  const up = object.kind === "Route" ? upCondition(object, route, now) : undefined;
  const accepted = verdict.is === "accepted";
  const before = conditionOf(old);
  const status = accepted ? "True" : "False";
  const condition: Condition = {
    type: ACCEPTED,
    status,
    reason: accepted ? ACCEPTED : verdict.is,
    message: accepted ? ACCEPTED_WORDS : verdict.message,
    lastTransitionTime: before?.status === status ? before.lastTransitionTime : now,
    observedGeneration: generation,
  };
  const vni = accepted ? verdict.vni : fieldOf(old, "vni");
  // Asked of each object at each change of the register: no JSON is made for it.
  const fields = ["status", "reason", "message", "observedGeneration"] as const;
  const same =
    fieldOf(old, "observedGeneration") === generation &&
    fieldOf(old, "vni") === vni &&
    fields.every((field) => before?.[field] === condition[field]) &&
    (up === undefined || fields.every((field) => conditionOf(old, UP)?.[field] === up[field]));
  if (same) return undefined;
  return {
    observedGeneration: generation,
    ...(typeof vni === "number" && { vni }),
    conditions: up === undefined ? [condition] : [condition, up],
  };
}

/** Whether packets go by a Route, as the node says that runs it. */
function upCondition(
  { generation, status: old }: CustomObject,
  route: RouteState | undefined,
  now: string,
): Condition {
  const before = conditionOf(old, UP);
  const status = route === undefined ? "Unknown" : route.up ? "True" : "False";
  const words = route === undefined ? "its node has said nothing of it yet" : "packets go by it";
  return {
    ...{ type: UP, status },
    reason: { True: "Up", False: "Down", Unknown: "NotHeard" }[status],
    message: route?.reason ?? (status === "False" ? "no packets go by it" : words),
    lastTransitionTime: before?.status === status ? before.lastTransitionTime : now,
    observedGeneration: generation,
  };
}

function conditionOf(status: unknown, type: string = ACCEPTED): Condition | undefined {
  const conditions = fieldOf(status, "conditions");
  if (!Array.isArray(conditions)) return undefined;
  return conditions.find((one) => fieldOf(one, "type") === type) as Condition | undefined;
}
