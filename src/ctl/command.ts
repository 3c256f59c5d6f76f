/**
 * The table of commands: what each is called, takes and does. Parsing, help, errors and completions all read this one table.
 */
import { parseArgs } from "node:util";
import { parseDurationMs } from "../net/mod.ts";

/** Option of a command. A flag takes no value; every other option names what its value is. */
export interface Option {
  readonly about: string;
  /** Placeholder of the value, such as `HOST:PORT`; absent for a flag. */
  readonly value?: string;
  /** One letter, as in `-f`. */
  readonly short?: string;
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
  /** The value as a whole number. */
  number(name: string): number | undefined;
  /** The value as a duration, in milliseconds. */
  durationMs(name: string): number | undefined;
}

/** Command does something, or holds others. */
export interface Command {
  readonly name: string;
  readonly about: string;
  /** Longer text for `--help`, lines of at most 80 characters. */
  readonly more?: string;
  /** Names of positional arguments; optional ones in brackets, a last one with `…` takes the rest, `a|b` takes one of these. */
  readonly positionals?: readonly string[];
  /** What completion offers as the first of them. */
  readonly choices?: readonly string[];
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

/** isChoice tells whether a positional is one of the words in its name, as in `bash|zsh`; `FILE|NAME` is not. */
export function isChoice(positional: string): boolean {
  return positional.includes("|") && positional === positional.toLowerCase();
}

/** What is wrong with an option, in our words: node:util tells it in several sentences. */
function optionMistake(options: Readonly<Record<string, Option>>, error: unknown): string {
  const { code, message } = error as { readonly code?: string; readonly message: string };
  const name = /'-*([^\s'=<]+)/.exec(message)?.[1] ?? "";
  const value = options[name]?.value;
  if (code === "ERR_PARSE_ARGS_INVALID_OPTION_VALUE")
    return value === undefined
      ? `--${name} takes no value`
      : `--${name} needs a value: --${name} ${value} (or --${name}=${value} for one that begins with -)`;
  const given = /'(-[^']*)'/.exec(message)?.[1] ?? message;
  const names = Object.keys(options).map((option) => `--${option}`);
  return `there is no option ${given}; ${names.length === 0 ? "this command takes none" : `this command takes ${names.join(", ")}`}`;
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
        ...(option.short === undefined ? {} : { short: option.short }),
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
    throw new UsageError(path, optionMistake(options, error));
  }
  const names = command.positionals ?? [];
  const least = names.filter((name) => !name.startsWith("[")).length;
  const { positionals, values } = parsed;
  if (positionals.length < least) throw new UsageError(path, `${names[positionals.length]} is missing`);
  if (!rest && positionals.length > names.length)
    throw new UsageError(path, `"${positionals[names.length]}" is one argument too many`);
  for (const [index, name] of names.entries()) {
    const value = positionals[index];
    // One that may be left out stands in brackets.
    const choices = name.replace(/^\[(.*)\]$/, "$1").split("|");
    if (isChoice(name) && value !== undefined && !choices.includes(value))
      throw new UsageError(path, `"${value}" is not one of ${choices.join(", ")}`);
  }
  for (const [name, option] of Object.entries(options)) {
    for (const value of [values[name]].flat())
      if (typeof value === "string" && option.choices !== undefined && !option.choices.includes(value))
        throw new UsageError(path, `--${name} "${value}" is not one of ${option.choices.join(", ")}`);
  }
  const value = (name: string) => values[name] as string | undefined;
  return {
    positionals,
    flag: (name) => values[name] === true,
    value,
    number(name) {
      const text = value(name);
      if (text !== undefined && !/^\d{1,9}$/.test(text))
        throw new UsageError(path, `--${name} "${text}" is not a whole number`);
      return text === undefined ? undefined : Number(text);
    },
    durationMs(name) {
      const text = value(name);
      try {
        return text === undefined ? undefined : parseDurationMs(text);
      } catch (error) {
        throw new UsageError(path, `--${name} ${(error as Error).message}`);
      }
    },
    values: (name) =>
      ([values[name]].flat() as (string | undefined)[]).filter((value) => value !== undefined),
  };
}
