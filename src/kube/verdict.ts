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

/** UpState is what nodes say of a resource: of a Route the one that runs it, of what is in a fabric all that have an edge. */
export interface UpState {
  /** Undefined while nobody has said anything of it. */
  readonly up: boolean | undefined;
  /** Why not, or what of it is wrong, and where. */
  readonly reason?: string | undefined;
}

/** UP is the condition that says whether nodes do what an object asks for. */
const UP = "Up";

interface UpWords {
  /** Of the condition while it is False. */
  readonly reason: string;
  readonly up: string;
  readonly down: string;
  readonly unknown: string;
}

const ROUTE_WORDS: UpWords = {
  reason: "Down",
  up: "packets go by it",
  down: "no packets go by it",
  unknown: "its node has said nothing of it yet",
};

const EDGE_WORDS: UpWords = {
  reason: "Degraded",
  up: "no node says that it is not as asked",
  down: "it is not as asked on a node",
  unknown: "no node has said anything of it yet",
};

const ACCEPTED_WORDS = "every node that may serve it is told";

/** statusOf returns what an object's status shall be; undefined when it is that already. */
export function statusOf(
  object: CustomObject,
  { verdict, up: state }: { readonly verdict: Verdict; readonly up?: UpState | undefined },
  now: string,
): CustomStatus | undefined {
  const { generation, status: old } = object;
  const up = state === undefined ? undefined : upCondition(object, state, now);
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
    fields.every((field) => conditionOf(old, UP)?.[field] === up?.[field]);
  if (same) return undefined;
  return {
    observedGeneration: generation,
    ...(typeof vni === "number" && { vni }),
    conditions: up === undefined ? [condition] : [condition, up],
  };
}

function upCondition(
  { kind, generation, status: old }: CustomObject,
  { up, reason }: UpState,
  now: string,
): Condition {
  const before = conditionOf(old, UP);
  const status = up === undefined ? "Unknown" : up ? "True" : "False";
  const words = kind === "Route" ? ROUTE_WORDS : EDGE_WORDS;
  return {
    ...{ type: UP, status },
    reason: { True: "Up", False: words.reason, Unknown: "NotHeard" }[status],
    message: reason ?? { True: words.up, False: words.down, Unknown: words.unknown }[status],
    lastTransitionTime: before?.status === status ? before.lastTransitionTime : now,
    observedGeneration: generation,
  };
}

function conditionOf(status: unknown, type: string = ACCEPTED): Condition | undefined {
  const conditions = fieldOf(status, "conditions");
  if (!Array.isArray(conditions)) return undefined;
  return conditions.find((one) => fieldOf(one, "type") === type) as Condition | undefined;
}
