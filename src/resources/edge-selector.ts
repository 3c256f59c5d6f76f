/**
 * Which nodes a part of the edge is on: as rules select nodes, and by labels of Kubernetes in the text form of its selectors.
 *
 * ```yaml
 * nodes: {role: worker, labels: [rack=a, "zone in (a, b)", "tier notin (lab)", gpu, "!spare"]}   # all that is named must fit
 * ```
 */
import { z } from "zod";
import type { Json } from "./canonical.ts";
import { LABEL_KEY as KEY, LABEL_VALUE as VALUE, type NodeLabels } from "./node-labels.ts";
import { formatSelector, type NodeSelector, selectorFields, selectorJson, selects } from "./rules.ts";
import { textValue } from "./scalars.ts";

/** LabelRequirement is one condition on a node's labels. `in` and `not-in` name values; the others have none. */
export interface LabelRequirement {
  readonly key: string;
  readonly operator: "in" | "not-in" | "exists" | "absent";
  readonly values: readonly string[];
}

/** EdgeSelector fits a node if all that is named fits; one without fields fits every node. */
export interface EdgeSelector extends NodeSelector {
  readonly labels?: readonly LabelRequirement[];
}

/** EdgeNode is a node as the edge knows it. */
export interface EdgeNode {
  readonly name: string;
  readonly hub: boolean;
  readonly role?: string;
  readonly site?: string;
  /** Absent: not known here, and nothing that names labels fits. */
  readonly labels?: NodeLabels;
  /** Its place in pools of addresses, from 0; absent: not known here. */
  readonly index?: number;
}

const EQUALS = new RegExp(`^(${KEY})\\s*(==?|!=)\\s*(\\S*)$`);
const AMONG = new RegExp(`^(${KEY})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const EXISTS = new RegExp(`^(!?)\\s*(${KEY})$`);

/** parseRequirement reads `rack=a`, `rack!=a`, `rack in (a, b)`, `rack notin (a)`, `rack` or `!rack`; throws for anything else. */
export function parseRequirement(text: string): LabelRequirement {
  const [, key, sign, value] = EQUALS.exec(text) ?? [];
  if (key !== undefined && VALUE.test(value ?? ""))
    return { key, operator: sign === "!=" ? "not-in" : "in", values: [value ?? ""] };
  const [, among, word, list] = AMONG.exec(text) ?? [];
  const values = (list ?? "").split(",").map((one) => one.trim());
  if (among !== undefined && values.every((one) => VALUE.test(one)))
    return { key: among, operator: word === "in" ? "in" : "not-in", values };
  const [, not, alone] = EXISTS.exec(text) ?? [];
  if (alone !== undefined) return { key: alone, operator: not === "!" ? "absent" : "exists", values: [] };
  throw new Error('is no condition on labels; write it like rack=a, "rack in (a, b)", rack or "!rack"');
}

/** formatRequirement undoes parseRequirement. */
export function formatRequirement({ key, operator, values }: LabelRequirement): string {
  if (operator === "exists") return key;
  if (operator === "absent") return `!${key}`;
  if (values.length === 1) return `${key}${operator === "in" ? "=" : "!="}${values[0]}`;
  return `${key} ${operator === "in" ? "in" : "notin"} (${values.join(", ")})`;
}

/** As Kubernetes has it: `notin` fits a node without the label. */
function meets(
  { key, operator, values }: LabelRequirement,
  labels: NonNullable<EdgeNode["labels"]>,
): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  const among = value !== undefined && values.includes(value);
  switch (operator) {
    case "in":
      return among;
    case "not-in":
      return !among;
    case "exists":
      return value !== undefined;
    case "absent":
      return value === undefined;
  }
}

/** selectsEdge tells whether a selector fits a node; without one every node fits. */
export function selectsEdge(selector: EdgeSelector | undefined, node: EdgeNode): boolean {
  if (selector === undefined) return true;
  const { labels: wanted = [] } = selector;
  const { labels } = node;
  return (
    selects(selector, node) &&
    (wanted.length === 0 || (labels !== undefined && wanted.every((one) => meets(one, labels))))
  );
}

/** edgeSelectorSchema reads a selection of nodes. */
export const edgeSelectorSchema = z
  .strictObject(
    {
      ...selectorFields,
      labels: z
        .array(textValue<LabelRequirement>("a condition such as rack=a", parseRequirement))
        .min(1, "names no condition; leave it out")
        .max(64)
        .optional(),
    },
    { error: "is not a selection of nodes; write {role: …, labels: [rack=a]}, or {} for all" },
  )
  .transform(
    (given) =>
      Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as EdgeSelector,
  );

/** edgeSelectorJson undoes edgeSelectorSchema. */
export function edgeSelectorJson({ labels, ...rest }: EdgeSelector): { readonly [field: string]: Json } {
  return {
    ...selectorJson(rest),
    ...(labels === undefined ? {} : { labels: labels.map(formatRequirement) }),
  };
}

/** formatEdgeSelector returns text for people: `role worker, label rack=a`. */
export function formatEdgeSelector({ labels = [], ...rest }: EdgeSelector): string {
  const named = Object.keys(rest).length > 0 || labels.length === 0 ? [formatSelector(rest)] : [];
  return [...named, ...labels.map((one) => `label ${formatRequirement(one)}`)].join(", ");
}
