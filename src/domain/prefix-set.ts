/** Networks as nft writes them. */
import { type Family, formatPrefix, type Prefix, prefixCovers, prefixEqual } from "../net/mod.ts";

/** FAMILIES are both families of addresses. */
export const FAMILIES = [4, 6] as const;

/** ipWord returns how nft calls a family's header. */
export function ipWord(family: Family): "ip" | "ip6" {
  return family === 4 ? "ip" : "ip6";
}

/** ofFamily returns the networks of a family without those that another one of them holds. */
export function ofFamily(prefixes: readonly Prefix[], family: Family): Prefix[] {
  const own = prefixes.filter((prefix) => prefix.family === family);
  return own.filter(
    (prefix, index) =>
      !own.some((other, at) => prefixCovers(other, prefix) && (!prefixEqual(other, prefix) || at < index)),
  );
}

/** prefixSet writes the networks of a family between braces; undefined when there is none. */
export function prefixSet(prefixes: readonly Prefix[], family: Family): string | undefined {
  const own = ofFamily(prefixes, family);
  return own.length === 0 ? undefined : `{ ${own.map(formatPrefix).join(", ")} }`;
}
