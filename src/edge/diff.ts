/** How two plans of a node differ: what goes, what comes, and what of what stays is another, so that nothing else is touched. */
import type { EdgeDomain, EdgeRouter } from "./model.ts";
import type { EdgePlan } from "./plan.ts";

/** Change says what becomes of something that has a name. */
export interface Change {
  readonly name: string;
  readonly change: "add" | "remove" | "change";
  /** Fields that differ, of `change`. */
  readonly fields: readonly string[];
}

/** DomainChange is a change of a domain, with its segments by VNI. */
export interface DomainChange extends Change {
  readonly segments: readonly Change[];
}

/** RouterChange is a change of a router. */
export interface RouterChange extends Change {
  readonly links: readonly Change[];
  readonly sessions: readonly Change[];
  readonly domains: readonly DomainChange[];
  /**
   * Whether VXLAN devices have to be made anew: their endpoint is another, or every link of the router is another one. Domains are
   * removed first then, and come again.
   */
  readonly rebuild: boolean;
}

/** Whether two values of a plan are the same; they are plain. */
function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const keys = Object.keys(a);
  const at = (value: object, key: string) => (value as Readonly<Record<string, unknown>>)[key];
  return (
    Array.isArray(a) === Array.isArray(b) &&
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && same(at(a, key), at(b, key)))
  );
}

function fieldsOf(before: object, after: object, skip: readonly string[]): string[] {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  const at = (value: object, key: string) => (value as Readonly<Record<string, unknown>>)[key];
  return keys.filter((key) => !skip.includes(key) && !same(at(before, key), at(after, key)));
}

interface Named<T> {
  readonly name: (value: T) => string;
  /** Fields that are compared by themselves. */
  readonly skip?: readonly string[];
}

function pairs<T extends object>(
  before: readonly T[],
  after: readonly T[],
  { name }: Named<T>,
): { readonly name: string; readonly old?: T; readonly now?: T }[] {
  const olds = new Map(before.map((one) => [name(one), one]));
  const nows = new Map(after.map((one) => [name(one), one]));
  return [...new Set([...olds.keys(), ...nows.keys()])].map((key) => {
    const old = olds.get(key);
    const now = nows.get(key);
    return { name: key, ...(old === undefined ? {} : { old }), ...(now === undefined ? {} : { now }) };
  });
}

function changeOf<T extends object>(
  { name, old, now }: { readonly name: string; readonly old?: T; readonly now?: T },
  skip: readonly string[] = [],
): Change {
  if (old === undefined) return { name, change: "add", fields: [] };
  if (now === undefined) return { name, change: "remove", fields: [] };
  return { name, change: "change", fields: fieldsOf(old, now, skip) };
}

const isChange = ({ change, fields }: Change) => change !== "change" || fields.length > 0;

function changes<T extends object>(before: readonly T[], after: readonly T[], named: Named<T>): Change[] {
  return pairs(before, after, named)
    .map((pair) => changeOf(pair))
    .filter(isChange);
}

function domainChanges(before: readonly EdgeDomain[], after: readonly EdgeDomain[]): DomainChange[] {
  return pairs(before, after, { name: ({ vni }) => `${vni}` })
    .map((pair) => ({
      ...changeOf(pair, ["segments"]),
      segments: changes(pair.old?.segments ?? [], pair.now?.segments ?? [], {
        name: ({ vni }) => `${vni}`,
      }),
    }))
    .filter((change) => isChange(change) || change.segments.length > 0);
}

/** What of a router is compared by itself. */
const PARTS = ["links", "sessions", "domains"];

function routerChange(pair: {
  readonly name: string;
  readonly old?: EdgeRouter;
  readonly now?: EdgeRouter;
}): RouterChange {
  const { old, now } = pair;
  return {
    ...changeOf(pair, PARTS),
    links: changes(old?.links ?? [], now?.links ?? [], { name: ({ name }) => name }),
    sessions: changes(old?.sessions ?? [], now?.sessions ?? [], { name: ({ name }) => name }),
    domains: domainChanges(old?.domains ?? [], now?.domains ?? []),
    rebuild: old !== undefined && now !== undefined && mustRebuild(old, now),
  };
}

function mustRebuild(old: EdgeRouter, now: EdgeRouter): boolean {
  const stays = now.links.some(({ name, made }) =>
    old.links.some((link) => link.name === name && same(link.made, made)),
  );
  return !stays || !same(old.endpoints, now.endpoints);
}

/** diffEdges returns what changes from what is there to a plan; empty: nothing. Routers that are kept do not change. */
export function diffEdges(before: readonly EdgeRouter[], plan: EdgePlan): RouterChange[] {
  return pairs(before, plan.edge.routers, { name: ({ name }) => name })
    .filter(({ name }) => !plan.kept.includes(name))
    .map(routerChange)
    .filter(
      (change) =>
        isChange(change) || change.links.length + change.sessions.length + change.domains.length > 0,
    );
}
