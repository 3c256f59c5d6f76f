/**
 * The table of commands: what each is called, takes and does. Parsing, help, errors and completions all read this one table.
 */
import { parseArgs } from "node:util";

/** Option of a command. A flag takes no value; every other option names what its value is. */
export interface Option {
  readonly about: string;
  /** Placeholder of the value, such as `HOST:PORT`; absent for a flag. */
  readonly value?: string;
  /** May be given several times. */
  readonly many?: boolean;
  /** What completion offers as values. */
  readonly choices?: readonly string[];
}

/** Given is what a command was called with: parsed, counted, unknown things refused. */
export interface Given {
  readonly positionals: readonly string[];
  flag(name: string): boolean;
  value(name: string): string | undefined;
  values(name: string): readonly string[];
}

/** Command does something, or holds others. */
export interface Command {
  readonly name: string;
  readonly about: string;
  /** Longer text for `--help`, lines of at most 78 characters. */
  readonly more?: string;
  /** Names of positional arguments; optional ones in brackets, a last one with `…` takes the rest. */
  readonly positionals?: readonly string[];
  readonly options?: Readonly<Record<string, Option>>;
  readonly examples?: readonly string[];
  readonly commands?: readonly Command[];
  /** Returns the exit status. */
  readonly run?: (given: Given) => Promise<number>;
}

/** UsageError is a mistake in how a command was called; it is shown with the way to the help. */
export class UsageError extends Error {
  readonly path: string;

  constructor(path: string, message: string) {
    super(message);
    this.path = path;
  }
}

const json: Option = { about: "print one JSON document instead of text" };

/** withJson adds `--json`, which every command that prints a table has. */
export function withJson(options: Readonly<Record<string, Option>> = {}): Readonly<Record<string, Option>> {
  return { ...options, json };
}

/** parseGiven reads the arguments of one command; UsageError names what is wrong and what is accepted. */
export function parseGiven(command: Command, path: string, argv: readonly string[]): Given {
  const options = command.options ?? {};
  const known = Object.fromEntries(
    Object.entries(options).map(([name, option]) => [
      name,
      {
        type: option.value === undefined ? ("boolean" as const) : ("string" as const),
        multiple: option.many ?? false,
      },
    ]),
  );
  const rest = (command.positionals ?? []).at(-1)?.includes("…") ?? false;
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({
      args: [...argv],
      options: known,
      allowPositionals: true,
      strict: true,
    }) as typeof parsed;
  } catch (error) {
    const message =
      error instanceof Error ? (error.message.split(". To specify")[0] as string) : String(error);
    const names = Object.keys(options).map((name) => `--${name}`);
    throw new UsageError(
      path,
      `${message}${names.length > 0 ? `; this command takes ${names.join(", ")}` : ""}`,
    );
  }
  const names = command.positionals ?? [];
  const least = names.filter((name) => !name.startsWith("[")).length;
  const { positionals, values } = parsed;
  if (positionals.length < least) throw new UsageError(path, `${names[positionals.length]} is missing`);
  if (!rest && positionals.length > names.length)
    throw new UsageError(path, `"${positionals[names.length]}" is one argument too many`);
  for (const [name, option] of Object.entries(options)) {
    for (const value of [values[name]].flat())
      if (typeof value === "string" && option.choices !== undefined && !option.choices.includes(value))
        throw new UsageError(path, `--${name} "${value}" is not one of ${option.choices.join(", ")}`);
  }
  return {
    positionals,
    flag: (name) => values[name] === true,
    value: (name) => values[name] as string | undefined,
    values: (name) =>
      ([values[name]].flat() as (string | undefined)[]).filter((value) => value !== undefined),
  };
}
