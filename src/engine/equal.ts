/** Equality of desired objects: by value; secrets by their bytes, namespaces by their inode. */
import { Secret } from "../net/mod.ts";
import { equalBytes, Netns } from "../sys/mod.ts";

/** sameValue compares two plain values deeply; a field that is undefined is a field that is absent. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Secret) return b instanceof Secret && equalBytes(a.reveal(), b.reveal());
  if (a instanceof Netns) return b instanceof Netns && a.inode === b.inode;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  for (const name in left) if (!sameValue(left[name], right[name])) return false;
  for (const name in right) if (right[name] !== undefined && left[name] === undefined) return false;
  return true;
}
