/**
 * Rules: which nodes may talk, as Mesh.spec.rules says it. A rule allows; what no rule allows is not there. Without the field, all may.
 *
 * ```yaml
 * rules:
 *   - from: {role: worker, site: attic}   # all that is named must fit
 *     to: {role: control}
 *   - from: {node: [nas, printer]}        # one of several
 *     to: {}                              # any node
 * ```
 * WireGuard's peers are symmetric, so a rule allows both directions of a pair.
 */
import { z } from "zod";
import type { Json } from "./canonical.ts";
import { type Node, nodeRole } from "./node.ts";
import { labelSchema, nameProblem, siteSchema } from "./scalars.ts";

/** NodeSelector fits a node if each field that is there names the node's value. */
export interface NodeSelector {
  readonly role?: readonly string[];
  readonly site?: readonly string[];
  readonly node?: readonly string[];
}

/** selects tells whether a selector fits a node; one without fields fits every node. */
export function selects(selector: NodeSelector, node: Pick<Node, "name" | "hub" | "role" | "site">): boolean {
  const { role, site, node: names } = selector;
  return (
    (role === undefined || role.includes(nodeRole(node))) &&
    (site === undefined || (node.site !== undefined && site.includes(node.site))) &&
    (names === undefined || names.includes(node.name))
  );
}

/** Rule allows pairs of nodes. */
export interface Rule {
  readonly from: NodeSelector;
  readonly to: NodeSelector;
}

/** One value or several. */
function oneOrMore(value: z.ZodType<string>) {
  return z
    .union([value, z.array(value).min(1).max(256)], {
      error: "is not a value or a list of values of that field",
    })
    .transform((given): readonly string[] => (typeof given === "string" ? [given] : given));
}

const nodeName = z.string().refine((name) => nameProblem(name) === undefined, {
  error: "is not a node's name",
});

/** selectorFields are what a selection of nodes may name. */
export const selectorFields = {
  role: oneOrMore(labelSchema).optional(),
  site: oneOrMore(siteSchema).optional(),
  node: oneOrMore(nodeName).optional(),
} as const;

/** selectorSchema reads a selection of nodes. */
export const selectorSchema = z
  .strictObject(selectorFields, {
    error: "is not a selection of nodes; write {role: …, site: …, node: …}, or {} for all",
  })
  .transform(
    (given) =>
      Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as NodeSelector,
  );

/** rulesSchema reads Mesh.spec.rules. */
export const rulesSchema = z
  .array(
    z.strictObject(
      { from: selectorSchema, to: selectorSchema },
      { error: "is not a rule; write {from: {…}, to: {…}}" },
    ),
  )
  .max(1024);

/** rulesJson undoes rulesSchema; a single value is written without a list. */
export function rulesJson(rules: readonly Rule[]): Json {
  return rules.map(({ from, to }) => ({ from: selectorJson(from), to: selectorJson(to) }));
}

/** selectorJson undoes selectorSchema. */
export function selectorJson(selector: NodeSelector): { readonly [field: string]: Json } {
  return Object.fromEntries(
    Object.entries(selector).map(([field, values]: [string, readonly string[]]) => [
      field,
      values.length === 1 ? (values[0] as string) : [...values],
    ]),
  );
}

/** formatRule returns one line for people: `role worker, site attic ↔ role control`. */
export function formatRule(rule: Rule): string {
  return `${formatSelector(rule.from)} ↔ ${formatSelector(rule.to)}`;
}

/** formatSelector returns text for people: `role worker, site attic`. */
export function formatSelector(selector: NodeSelector): string {
  const parts = Object.entries(selector).map(
    ([field, values]: [string, readonly string[]]) => `${field} ${values.join("|")}`,
  );
  return parts.length === 0 ? "any node" : parts.join(", ");
}
