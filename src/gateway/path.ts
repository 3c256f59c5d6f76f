/**
 * Paths into a configuration or a state: the part of XPath that Vita has, over the data.
 *
 * ```
 * /route4[id=tokyo]/gateway[ip=203.0.113.5]/queue      one bracket for each key, in any order; keys with a default may be left out
 * /route[id=tokyo]/net[position()=2]                   leaf-lists by position, from 1
 * //route4/                                            the same as /route4
 * ```
 */
import { refuse } from "./problem.ts";
import {
  formatLeaf,
  type AnyLeaf,
  leafTypeOf,
  type List,
  memberOf,
  type Members,
  type SchemaNode,
} from "./schema-node.ts";

/** One name of a path, with what is in its brackets. */
interface RawStep {
  readonly name: string;
  readonly query: ReadonlyMap<string, string>;
}

/** Target is what a path leads to in a schema. */
export interface Target {
  /** Canonical text of the path. */
  readonly path: string;
  readonly steps: readonly Step[];
}

/** Step is one member on the way. */
export interface Step {
  readonly name: string;
  readonly node: SchemaNode;
  /** Of a list: which entry, as in its map; absent: the list itself. */
  readonly key?: string;
  /** Of a leaf-list: which value, from 0; absent: all of them. */
  readonly index?: number;
}

/** The longest path, in characters; those of configurations have less than a thousand. */
const MAX_PATH = 4096;
const STEP = /\/+(?:([^/[\]]+)((?:\[[^\]]*\])*))?/y;
const QUERY = /\[\s*([^=\]]+?)\s*=\s*(?:"([^"\]]*)"|'([^'\]]*)'|([^\]]*?))\s*\]/y;

function rawQuery(text: string, path: string): ReadonlyMap<string, string> {
  const query = new Map<string, string>();
  for (QUERY.lastIndex = 0; QUERY.lastIndex < text.length;) {
    const from = QUERY.lastIndex;
    const match = QUERY.exec(text);
    if (match === null) refuse(path, "is not a key in brackets; write it like [id=tokyo]", text.slice(from));
    const [, name, double, single, bare] = match as unknown as [string, string, ...(string | undefined)[]];
    if (query.has(name)) refuse(path, "is there twice; keep one", `[${name}=…]`);
    query.set(name, double ?? single ?? bare ?? "");
  }
  return query;
}

function rawSteps(path: string): RawStep[] {
  if (path.length > MAX_PATH) refuse("/", `is longer than ${MAX_PATH} characters`);
  const text = path.startsWith("/") ? path : `/${path}`;
  const steps: RawStep[] = [];
  for (STEP.lastIndex = 0; STEP.lastIndex < text.length;) {
    const from = STEP.lastIndex;
    const match = STEP.exec(text);
    if (match === null) refuse(text, "is not a path; write it like /route4[id=tokyo]/spi", text.slice(from));
    const [, name, brackets] = match;
    if (name !== undefined) steps.push({ name, query: rawQuery(brackets ?? "", text) });
  }
  return steps;
}

/** keyPath returns the brackets of an entry, its keys in order of names. */
export function keyPath(node: List<Members>, key: string): string {
  const values = key.split(" ");
  return node.keys
    .map((name, i) => `[${name}=${values[i]}]`)
    .sort()
    .join("");
}

function keyOf(node: List<Members>, { name, query }: RawStep, above: string): string {
  const stray = [...query.keys()].find((key) => !node.keys.includes(key));
  if (stray !== undefined)
    refuse(`${above}/${name}`, `is no key of this list; its keys are ${node.keys.join(", ")}`, stray);
  return node.keys
    .map((key) => {
      const leaf = node.members[key] as AnyLeaf;
      const type = leafTypeOf(node.members, key);
      const text =
        query.get(key) ?? (leaf.default === undefined ? undefined : formatLeaf(type, leaf.default));
      if (text === undefined) refuse(`${above}/${name}`, `is missing its key ${key}; write [${key}=…]`);
      try {
        return formatLeaf(type, type.parse(text));
      } catch (error) {
        return refuse(`${above}/${name}[${key}=${text}]`, (error as Error).message, text);
      }
    })
    .join(" ");
}

function positionOf({ name, query }: RawStep, above: string): number | undefined {
  if (query.size === 0) return undefined;
  const text = query.get("position()");
  const path = `${above}/${name}`;
  if (text === undefined || query.size > 1) refuse(path, "is found by position only; write [position()=1]");
  if (!/^[1-9]\d{0,8}$/.test(text)) refuse(path, "is not a position; they count from 1", text);
  return Number(text) - 1;
}

function stepTo(members: Members, raw: RawStep, above: string): readonly [step: Step, text: string] {
  const { name } = raw;
  const node = memberOf(members, name);
  if (node === undefined)
    refuse(
      above === "" ? "/" : above,
      `is not a name here; the names are ${Object.keys(members).join(", ")}`,
      name,
    );
  switch (node.kind) {
    case "list": {
      if (raw.query.size === 0) return [{ name, node }, `/${name}`];
      const key = keyOf(node, raw, above);
      return [{ name, node, key }, `/${name}${keyPath(node, key)}`];
    }
    case "leaf-list": {
      const index = positionOf(raw, above);
      if (index === undefined) return [{ name, node }, `/${name}`];
      return [{ name, node, index }, `/${name}[position()=${index + 1}]`];
    }
    default:
      if (raw.query.size > 0) refuse(`${above}/${name}`, "is no list; remove the brackets");
      return [{ name, node }, `/${name}`];
  }
}

/** membersBelow returns the members that a step leads to; undefined where it leads to none. */
export function membersBelow(step: Step): Members | undefined {
  if (step.node.kind === "container") return step.node.members;
  return step.node.kind === "list" && step.key !== undefined ? step.node.members : undefined;
}

/** parsePath finds a path in a schema; throws ConfigError for one that leads nowhere. It does not look at any data. */
export function parsePath(schema: Members, path: string): Target {
  const steps: Step[] = [];
  let text = "";
  let members: Members | undefined = schema;
  for (const raw of rawSteps(path)) {
    if (members === undefined) {
      const last = steps.at(-1) as Step;
      const fix =
        last.node.kind === "list" ? `write ${last.name}[${last.node.keys[0]}=…]` : "remove what is behind it";
      refuse(text, `has no names below it; ${fix}`, raw.name);
    }
    const [step, part]: readonly [Step, string] = stepTo(members, raw, text);
    steps.push(step);
    text += part;
    members = membersBelow(step);
  }
  return { path: text === "" ? "/" : text, steps };
}
