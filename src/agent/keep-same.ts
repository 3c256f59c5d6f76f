/** Values that have not changed, kept as they were: among hundreds, the one that has changed is found at once. */
import { sameValue } from "../engine/mod.ts";

/** keepSame returns the wanted values; one that is deeply the same as the one before it with its name is that one. */
export function keepSame<T>(
  before: readonly T[],
  wanted: readonly T[],
  name: (one: T) => string | number,
): readonly T[] {
  const known = new Map(before.map((one) => [name(one), one]));
  return wanted.map((one) => {
    const old = known.get(name(one));
    return old !== undefined && sameValue(old, one) ? old : one;
  });
}
