/** Text by which values are told apart, secrets among them: for maps in memory, never for output. */
import type { LeafType } from "./leaf-type.ts";
import { formatLeaf, type Value } from "./schema-node.ts";
import { SecretBytes } from "./secret-bytes.ts";

/** identityOf returns the same text for equal values of a type, and different text for others. */
export function identityOf(type: LeafType<unknown>, value: Value): string {
  return value instanceof SecretBytes ? Buffer.from(value.reveal()).toString("hex") : formatLeaf(type, value);
}

/** sameValue compares what schemas and models consist of: plain objects, arrays, maps, secrets and scalars. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof SecretBytes) return b instanceof SecretBytes && a.equals(b);
  if (a instanceof Map) {
    if (!(b instanceof Map) || a.size !== b.size) return false;
    return [...a].every(([key, value]) => b.has(key) && sameValue(value, b.get(key)));
  }
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    return a.every((value, i) => sameValue(value, b[i]));
  }
  const [left, right] = [a, b] as readonly { readonly [name: string]: unknown }[];
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every((name) => Object.hasOwn(b, name) && sameValue(left?.[name], right?.[name]));
}
