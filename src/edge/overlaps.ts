/** Networks that share addresses, found without a look at each pair: there may be thousands, and hardly ever do two overlap. */
import { bitsOf, type Prefix } from "../net/mod.ts";

interface Placed<T> {
  readonly value: T;
  /** In the list that was given. */
  readonly at: number;
  readonly family: 4 | 6;
  readonly first: bigint;
  /** After the last. */
  readonly end: bigint;
}

/** overlaps returns all pairs that share addresses, the earlier of the list first, in order of the later. Two prefixes overlap only if one holds the other. */
export function overlaps<T extends { readonly prefix: Prefix }>(list: readonly T[]): (readonly [T, T])[] {
  const placed = list
    .map((value, at): Placed<T> => {
      const { family, value: first, length } = value.prefix;
      return { value, at, family, first, end: first + (1n << BigInt(bitsOf(family) - length)) };
    })
    .sort(byPlace);
  const found: (readonly [Placed<T>, Placed<T>])[] = [];
  /** Those that hold what comes next. */
  let open: Placed<T>[] = [];
  for (const one of placed) {
    open = open.filter(({ family, end }) => family === one.family && end > one.first);
    for (const other of open) found.push(one.at < other.at ? [one, other] : [other, one]);
    open.push(one);
  }
  return found
    .sort(([a, b], [c, d]) => b.at - d.at || a.at - c.at)
    .map(([a, b]) => [a.value, b.value] as const);
}

/** A network before those that it holds. */
function byPlace(a: Placed<unknown>, b: Placed<unknown>): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.first !== b.first) return a.first < b.first ? -1 : 1;
  if (a.end !== b.end) return a.end > b.end ? -1 : 1;
  return a.at - b.at;
}
