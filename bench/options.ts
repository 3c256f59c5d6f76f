/** Options of a benchmark, from the words after its name. */
import { parseArgs } from "node:util";

/** OptionError says what is wrong with an option; it is shown without a stack. */
export class OptionError extends Error {
  override readonly name = "OptionError";
}

/** readOptions reads `--name VALUE` and, for the names in `flags`, `--name`; anything else is an OptionError. */
export function readOptions<N extends string, F extends string>(
  words: readonly string[],
  known: { readonly values: readonly N[]; readonly flags: readonly F[] },
): Partial<Record<N, string>> & Partial<Record<F, boolean>> {
  const options = Object.fromEntries([
    ...known.values.map((name) => [name, { type: "string" as const }] as const),
    ...known.flags.map((name) => [name, { type: "boolean" as const }] as const),
  ]);
  try {
    return parseArgs({ args: [...words], options }).values as never;
  } catch (error) {
    throw new OptionError(error instanceof Error ? error.message : String(error));
  }
}

/** positive reads a whole number of at least 1. */
export function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new OptionError(`"${text}" is not a whole number of at least 1`);
  return value;
}

/** chosen reads a list of names, separated by commas. */
export function chosen(text: string, known: readonly string[]): string[] {
  const names = text.split(",");
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new OptionError(`There is no "${unknown}"; there are: ${known.join(", ")}`);
  return names;
}
