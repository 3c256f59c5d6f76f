/** Sets of flags, as words. */

/** flagBits returns the bits of some words. */
export function flagBits<T extends string>(bits: Readonly<Record<T, number>>, words: readonly T[]): number {
  return words.reduce((all, word) => all | bits[word], 0);
}

/** flagWords returns the words of some bits, in the order of the table; bits that it lacks are left out. */
export function flagWords<T extends string>(bits: Readonly<Record<T, number>>, all: number): readonly T[] {
  return (Object.keys(bits) as T[]).filter((word) => (all & bits[word]) !== 0);
}
