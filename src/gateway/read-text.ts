/**
 * Statements to values, by a schema: types, defaults, what must be there, and what is there twice. All that is wrong is found at once. Rules that
 * need the whole configuration are in rules.ts.
 */
import type { LeafType } from "./leaf-type.ts";
import { keyPath, type Step, type Target } from "./path.ts";
import { ConfigError, type ConfigProblem } from "./problem.ts";
import {
  entryKey,
  formatLeaf,
  leafTypeOf,
  type LeafList,
  type List,
  memberOf,
  type Members,
  type SchemaNode,
  type Struct,
  type Value,
} from "./schema-node.ts";
import { parseArguments, parseBlocks, parseStatements, type Place, type Statement } from "./statement.ts";

/** MAX_PROBLEMS is how many problems of one text are told. */
export const MAX_PROBLEMS = 100;

/** A read that goes on behind what is wrong. */
class Reading {
  readonly problems: ConfigProblem[] = [];

  report(path: string, place: Partial<Place> | undefined, rule: string, value?: string): void {
    if (this.problems.length >= MAX_PROBLEMS) return;
    const { line, column } = place ?? {};
    this.problems.push({
      path: path === "" ? "/" : path,
      rule,
      ...(value === undefined ? {} : { value }),
      ...(line === undefined || column === undefined ? {} : { line, column }),
    });
  }

  /** Throws what was found; else returns what was read. */
  finish(value: Value): Value {
    if (this.problems.length > 0) throw new ConfigError(this.problems);
    return value;
  }

  leaf(type: LeafType<unknown>, statement: Statement, path: string): Value {
    const { argument, block } = statement;
    if (argument === undefined || block !== undefined) {
      this.report(path, statement, `wants one value; write ${statement.keyword} VALUE;`);
      return undefined;
    }
    try {
      return type.parse(argument);
    } catch (error) {
      this.report(path, statement, (error as Error).message, type.secret ? undefined : argument);
      return undefined;
    }
  }

  /** Reads the statements inside of a container or entry. `keys` are values that the path has named already. */
  struct(
    members: Members,
    statements: readonly Statement[],
    path: string,
    options: { readonly place?: Place; readonly keys?: Struct } = {},
  ): Struct {
    const { place, keys = {} } = options;
    const values: Record<string, Value> = { ...keys };
    const seen = new Set<string>();
    for (const statement of statements) {
      const { keyword } = statement;
      const node = memberOf(members, keyword);
      const below = `${path}/${keyword}`;
      if (node === undefined) {
        const names = Object.keys(members).join(", ");
        this.report(path, statement, `is not a name here; the names are ${names}`, keyword);
      } else if (node.kind === "list" || node.kind === "leaf-list") {
        this.#more(node, statement, below, values);
      } else if (seen.has(keyword)) {
        this.report(below, statement, "is there twice; keep one");
      } else {
        this.#once(node, statement, { path: below, values, key: keys[keyword] });
      }
      seen.add(keyword);
    }
    this.#fill(members, values, { path, place, seen });
    return values;
  }

  #once(
    node: Exclude<SchemaNode, { readonly kind: "list" | "leaf-list" }>,
    statement: Statement,
    to: { readonly path: string; readonly values: Record<string, Value>; readonly key: Value },
  ): void {
    const { keyword, argument, block } = statement;
    if (node.kind === "container") {
      if (argument !== undefined || block === undefined)
        this.report(to.path, statement, `wants a block; write ${keyword} { … }`);
      else to.values[keyword] = this.struct(node.members, block, to.path, { place: statement });
      return;
    }
    const value = this.leaf(node.type, statement, to.path);
    if (value === undefined) return;
    if (to.key !== undefined && formatLeaf(node.type, value) !== formatLeaf(node.type, to.key))
      this.report(to.path, statement, "is another one than the path says; leave it out", argument);
    else to.values[keyword] = value;
  }

  #more(
    node: Extract<SchemaNode, { readonly kind: "list" | "leaf-list" }>,
    statement: Statement,
    path: string,
    values: Record<string, Value>,
  ): void {
    const { keyword } = statement;
    if (node.kind === "list") {
      const entries = (values[keyword] ??= new Map()) as Map<string, Struct>;
      this.entry(node, statement, path, entries);
    } else {
      const list = (values[keyword] ??= []) as Value[];
      this.one(node, statement, path, list);
    }
  }

  /** Reads an entry of a list and adds it. */
  entry(node: List<Members>, statement: Statement, path: string, entries: Map<string, Struct>): void {
    const { argument, block } = statement;
    if (argument !== undefined || block === undefined)
      return this.report(path, statement, "wants a block for each entry; write { … }");
    const named = this.#nameOf(node, block) ?? `[position()=${entries.size + 1}]`;
    const before = this.problems.length;
    const entry = this.struct(node.members, block, `${path}${named}`, { place: statement });
    if (this.problems.length > before) return;
    const key = entryKey(node, entry);
    if (entries.has(key)) this.report(`${path}${named}`, statement, "is there twice; keep one");
    else entries.set(key, entry);
  }

  /** The brackets that lead to an entry, where its keys can be read. */
  #nameOf(node: List<Members>, block: readonly Statement[]): string | undefined {
    const keys: string[] = [];
    for (const name of node.keys) {
      const leaf = node.members[name];
      const text = block.find(({ keyword }) => keyword === name)?.argument;
      if (leaf?.kind !== "leaf" || (text === undefined && leaf.default === undefined)) return undefined;
      try {
        keys.push(formatLeaf(leaf.type, text === undefined ? leaf.default : leaf.type.parse(text)));
      } catch {
        // Reading the entry says what is wrong with its key.
        return undefined;
      }
    }
    return keyPath(node, keys.join(" "));
  }

  /** Reads a value of a leaf-list and adds it. */
  one(node: LeafList<unknown>, statement: Statement, path: string, list: Value[]): void {
    const value = this.leaf(node.type, statement, path);
    if (value !== undefined) list.push(value);
  }

  /** Fills in defaults and empty lists, and reports what must be there. */
  #fill(
    members: Members,
    values: Record<string, Value>,
    at: { readonly path: string; readonly place: Place | undefined; readonly seen: ReadonlySet<string> },
  ): void {
    for (const [name, node] of Object.entries(members)) {
      if (values[name] !== undefined || node.kind === "container") continue;
      if (node.kind === "list") values[name] = new Map();
      else if (node.kind === "leaf-list") values[name] = [];
      else if (node.presence === "default") values[name] = node.default;
      else if (node.presence === "mandatory" && !at.seen.has(name))
        this.report(`${at.path}/${name}`, at.place, "is missing; add it");
    }
  }
}

/** readRoot reads all of a schema's data; an empty text gives the defaults. Throws ConfigError with all that is wrong. */
export function readRoot(schema: Members, text: string): Struct {
  const reading = new Reading();
  const value = reading.struct(schema, parseStatements(text), "");
  return reading.finish(value) as Struct;
}

/** The values of an entry's keys, as its path says them. */
function keysOf(step: Step): Struct {
  if (step.node.kind !== "list" || step.key === undefined) return {};
  const { keys, members } = step.node;
  const texts = step.key.split(" ");
  return Object.fromEntries(
    keys.map((name, i) => [name, leafTypeOf(members, name).parse(texts[i] as string)]),
  );
}

/** readEntries reads entries of a list whose name is in the path: `{ … } { … }`. */
function readEntries(reading: Reading, node: List<Members>, path: string, text: string): Value {
  const entries = new Map<string, Struct>();
  for (const statement of parseBlocks(text)) reading.entry(node, statement, path, entries);
  return entries;
}

/** readAt reads the value of what a path leads to: what is in the path is not in the text. Throws ConfigError with all that is wrong. */
export function readAt(schema: Members, target: Target, text: string): Value {
  const step = target.steps.at(-1);
  if (step === undefined) return readRoot(schema, text);
  const { path } = target;
  const { node } = step;
  const reading = new Reading();
  if (node.kind === "container")
    return reading.finish(reading.struct(node.members, parseStatements(text), path));
  if (node.kind === "list") {
    if (step.key === undefined) return reading.finish(readEntries(reading, node, path, text));
    return reading.finish(reading.struct(node.members, parseStatements(text), path, { keys: keysOf(step) }));
  }
  const statements = parseArguments(text);
  if (node.kind === "leaf-list" && step.index === undefined) {
    const list: Value[] = [];
    for (const statement of statements) reading.one(node, statement, path, list);
    return reading.finish(list);
  }
  const [only, another] = statements;
  if (only === undefined || another !== undefined) {
    reading.report(path, undefined, "wants one value");
    return reading.finish(undefined);
  }
  return reading.finish(reading.leaf(node.type, only, path));
}
