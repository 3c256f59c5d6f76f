/**
 * Reading JSON that other programs wrote. Keys match without regard to case, as in every plugin written in Go: containerd sends
 * `HostPort` where the convention says `hostPort`. An empty string and null are absent.
 */
import { CniError } from "./error.ts";

/** JsonObject is a decoded object whose fields have not been looked at. */
export type JsonObject = { readonly [key: string]: unknown };

/** isObject tells an object from arrays, null and the rest. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Reader takes typed fields out of an object; errors name the path and the value. */
export class Reader {
  readonly #object: JsonObject;
  readonly #path: string;

  constructor(object: JsonObject, path = "") {
    this.#object = object;
    this.#path = path;
  }

  /** value returns a field as it is: the one spelled exactly so, or else the last that differs in case only. */
  value(key: string): unknown {
    const lower = key.toLowerCase();
    const found = Object.hasOwn(this.#object, key)
      ? key
      : Object.keys(this.#object).findLast((candidate) => candidate.toLowerCase() === lower);
    const value = found === undefined ? undefined : this.#object[found];
    return value === null || value === "" ? undefined : value;
  }

  /** string returns a text field. */
  string(key: string): string | undefined {
    return this.#typed(key, "text", (value): value is string => typeof value === "string");
  }

  /** integer returns a whole number within limits. */
  integer(key: string, limits: { readonly least: number; readonly most: number }): number | undefined {
    const { least, most } = limits;
    return this.#typed(
      key,
      `a whole number from ${least} to ${most}`,
      (value): value is number => Number.isInteger(value) && Number(value) >= least && Number(value) <= most,
    );
  }

  /** boolean returns a field that is true or false. */
  boolean(key: string): boolean | undefined {
    return this.#typed(key, "true or false", (value): value is boolean => typeof value === "boolean");
  }

  /** object returns a reader of a field that is an object. */
  object(key: string): Reader | undefined {
    const value = this.#typed(key, "an object", isObject);
    return value === undefined ? undefined : new Reader(value, this.path(key));
  }

  /** strings returns a list of texts, without empty ones; none when it is absent. */
  strings(key: string): readonly string[] {
    const all = this.#typed(
      key,
      "a list of texts",
      (value): value is string[] => Array.isArray(value) && value.every((item) => typeof item === "string"),
    );
    return (all ?? []).filter((item) => item !== "");
  }

  /** objects returns readers of a list of objects; undefined when it is absent. */
  objects(key: string): readonly Reader[] | undefined {
    const all = this.#typed(
      key,
      "a list of objects",
      (value): value is JsonObject[] => Array.isArray(value) && value.every(isObject),
    );
    return all?.map((item, index) => new Reader(item, `${this.path(key)}[${index}]`));
  }

  /** parsed returns a text field as a value; `parse` returns undefined or throws for what it does not understand. */
  parsed<T>(key: string, what: string, parse: (text: string) => T | undefined): T | undefined {
    const text = this.string(key);
    if (text === undefined) return undefined;
    const value = attempt(() => parse(text));
    if (value === undefined) throw this.wrong(key, what);
    return value;
  }

  /** wrong makes the error of a field that does not hold what it should. */
  wrong(key: string, what: string): CniError {
    return new CniError(
      "badConfiguration",
      `Cannot use the network configuration: ${this.path(key)} is not ${what}`,
      {
        details: `${this.path(key)} is ${shown(this.value(key))}`,
      },
    );
  }

  /** path returns how the field is called in errors. */
  path(key: string): string {
    return this.#path === "" ? key : `${this.#path}.${key}`;
  }

  #typed<T>(key: string, what: string, is: (value: unknown) => value is T): T | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (!is(value)) throw this.wrong(key, what);
    return value;
  }
}

/** Longest text that an error repeats of a value, in characters. */
const MOST_SHOWN = 500;

/** How many values inside each other it repeats: writing one that is nested thousands of times takes a second, and then fails. */
const MOST_LEVELS = 8;

/** shown returns a value as errors repeat it. */
export function shown(value: unknown): string {
  const text = value === undefined ? "absent" : JSON.stringify(pruned(value, MOST_LEVELS));
  return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text;
}

function pruned(value: unknown, levels: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (levels === 0) return "…";
  if (Array.isArray(value)) return value.map((item) => pruned(item, levels - 1));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pruned(item, levels - 1)]));
}

/** attempt returns undefined instead of throwing, for parsers of text. */
export function attempt<T>(parse: () => T | undefined): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
