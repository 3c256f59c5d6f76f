/** Labels of a node, as Kubernetes has them (labels of objects: apimachinery, validation of qualified names): what selections of nodes look at. */
import { z } from "zod";

/** NodeLabels is what a node is labelled with, by key. */
export type NodeLabels = Readonly<Record<string, string>>;

/** LABEL_KEY is the text of a regular expression: a name of at most 63 characters, after a prefix and `/` or alone. */
export const LABEL_KEY = "(?:[a-z0-9.-]{1,253}/)?[a-zA-Z0-9](?:[-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?";

/** LABEL_VALUE fits at most 63 characters; none is a value too. */
export const LABEL_VALUE = /^([a-zA-Z0-9]([-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?)?$/;

/** MOST_LABELS is how many a node of the register has: those that selections name. */
export const MOST_LABELS = 64;

const key = z
  .string()
  .regex(new RegExp(`^${LABEL_KEY}$`), "is not the key of a label; write it like rack or example.com/rack");
const value = z
  .string()
  .regex(LABEL_VALUE, "is not the value of a label; use letters, digits, '-', '_' and '.', at most 63");

/** nodeLabelsSchema reads labels. */
export const nodeLabelsSchema = z
  .record(key, value)
  .refine((labels) => Object.keys(labels).length <= MOST_LABELS, `are more than ${MOST_LABELS}`);

/** labelChangeSchema reads a change of labels; null takes one away. */
export const labelChangeSchema = z.record(key, value.nullable());

/** LabelChange is what of a node's labels is set; null takes one away. */
export type LabelChange = Readonly<Record<string, string | null>>;

/** parseLabelChange reads words as kubectl(1) has them: `rack=a` sets a label, `rack-` takes it away. Throws for anything else. */
export function parseLabelChange(words: readonly string[]): Record<string, string | null> {
  const change = new Map<string, string | null>();
  for (const word of words) {
    const [, name = "", sign, text = ""] = /^([^=]*?)(=|-$)(.*)$/.exec(word) ?? [];
    if (!new RegExp(`^${LABEL_KEY}$`).test(name) || !LABEL_VALUE.test(text))
      throw new Error(`"${word}" is no change of a label; write rack=a to set one, rack- to take it away`);
    if (change.has(name)) throw new Error(`"${word}" is the second word about label ${name}; keep one`);
    change.set(name, sign === "=" ? text : null);
  }
  return Object.fromEntries(change);
}

/** sameLabels tells whether two nodes are labelled alike. */
export function sameLabels(one: NodeLabels, other: NodeLabels): boolean {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((name) => one[name] === other[name]);
}

/** withLabels returns labels after a change, by key in order. */
export function withLabels(before: NodeLabels, change: Readonly<Record<string, string | null>>): NodeLabels {
  const all = Object.entries({ ...before, ...change }).filter(
    (entry): entry is [string, string] => entry[1] !== null,
  );
  return Object.fromEntries(all.toSorted(([one], [other]) => (one < other ? -1 : 1)));
}
