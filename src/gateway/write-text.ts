/**
 * Values to text, in three formats: that in which they are read (`yang`), one line a leaf with its path (`xpath`), and InfluxDB's line protocol.
 * Names in alphabetical order and keys first, as Vita prints them; secrets are `(hidden)` in all three.
 */
import type { LeafType } from "./leaf-type.ts";
import { keyPath, type Step, type Target } from "./path.ts";
import {
  type Entries,
  formatLeaf,
  type AnyLeaf,
  type List,
  type Members,
  type Struct,
  type Value,
} from "./schema-node.ts";
import { quote } from "./statement.ts";

/** formats are the ways to print. */
export const formats = ["yang", "xpath", "influxdb"] as const;

/** PrintOptions say how; without them `yang`, without what equals its default. */
export interface PrintOptions {
  readonly format?: (typeof formats)[number];
  readonly printDefault?: boolean;
}

function isDefault(node: AnyLeaf, value: Value): boolean {
  return node.default !== undefined && formatLeaf(node.type, value) === formatLeaf(node.type, node.default);
}

/** Names in the order of printing. */
function names(members: Members, keys: readonly string[] = []): string[] {
  return [
    ...keys,
    ...Object.keys(members)
      .filter((name) => !keys.includes(name))
      .sort(),
  ];
}

const valueText = (type: LeafType<unknown>, value: Value) => quote(formatLeaf(type, value));

function structLines(
  members: Members,
  value: Struct,
  print: { readonly indent: string; readonly all: boolean; readonly names: readonly string[] },
): string[] {
  const { indent, all } = print;
  const inner = `${indent}  `;
  return print.names.flatMap((name) => {
    const node = members[name];
    const member = value[name];
    if (member === undefined || node === undefined) return [];
    switch (node.kind) {
      case "leaf":
        return all || !isDefault(node, member) ? [`${indent}${name} ${valueText(node.type, member)};`] : [];
      case "leaf-list":
        return (member as readonly Value[]).map((one) => `${indent}${name} ${valueText(node.type, one)};`);
      case "container": {
        const lines = structLines(node.members, member as Struct, {
          indent: inner,
          all,
          names: names(node.members),
        });
        return [`${indent}${name} {`, ...lines, `${indent}}`];
      }
      case "list":
        return [...(member as Entries).values()].flatMap((entry) => [
          `${indent}${name} {`,
          ...structLines(node.members, entry, { indent: inner, all, names: names(node.members, node.keys) }),
          `${indent}}`,
        ]);
    }
  });
}

function yangLines(schema: Members, target: Target, value: Value, all: boolean): string[] {
  const step = target.steps.at(-1);
  if (step === undefined)
    return structLines(schema, value as Struct, { indent: "", all, names: names(schema) });
  const { node } = step;
  switch (node.kind) {
    case "container":
      return structLines(node.members, value as Struct, { indent: "", all, names: names(node.members) });
    case "leaf":
      return [valueText(node.type, value)];
    case "leaf-list":
      return (step.index === undefined ? (value as readonly Value[]) : [value]).map((one) =>
        valueText(node.type, one),
      );
    case "list": {
      const own = names(node.members, node.keys);
      // What the path names is not in the value.
      if (step.key !== undefined)
        return structLines(node.members, value as Struct, {
          indent: "",
          all,
          names: own.slice(node.keys.length),
        });
      return [...(value as Entries).values()].flatMap((entry) => [
        "{",
        ...structLines(node.members, entry, { indent: "  ", all, names: own }),
        "}",
      ]);
    }
  }
}

/** One leaf with the way to it: pieces of path, each with the keys of its entry. */
interface Found {
  readonly way: readonly {
    readonly name: string;
    readonly brackets: string;
    readonly tags: readonly Tag[];
  }[];
  readonly type: LeafType<unknown>;
  readonly value: Value;
}
type Tag = readonly [name: string, value: string];

function tagsOf(node: List<Members>, key: string): Tag[] {
  const values = key.split(" ");
  return node.keys.map((name, i) => [name, values[i] as string]);
}

function* leavesBelow(step: Step, value: Value, way: Found["way"], all: boolean): Generator<Found> {
  const { name, node } = step;
  const plain = [...way, { name, brackets: "", tags: [] }];
  if (value === undefined) return;
  if (node.kind === "leaf") {
    if (all || !isDefault(node, value)) yield { way: plain, type: node.type, value };
  } else if (node.kind === "leaf-list") {
    for (const [i, one] of (step.index === undefined ? (value as readonly Value[]) : [value]).entries()) {
      const position = `${(step.index ?? i) + 1}`;
      const brackets = `[position()=${position}]`;
      yield {
        way: [...way, { name, brackets, tags: [["position", position]] }],
        type: node.type,
        value: one,
      };
    }
  } else if (node.kind === "container") {
    yield* leavesOf(node.members, value as Struct, { way: plain, all, names: names(node.members) });
  } else if (step.key === undefined) {
    for (const [key, entry] of value as Entries) yield* leavesBelow({ ...step, key }, entry, way, all);
  } else {
    const here = { name, brackets: keyPath(node, step.key), tags: tagsOf(node, step.key) };
    const own = names(node.members, node.keys).slice(node.keys.length);
    yield* leavesOf(node.members, value as Struct, { way: [...way, here], all, names: own });
  }
}

function* leavesOf(
  members: Members,
  value: Struct,
  options: { readonly way: Found["way"]; readonly all: boolean; readonly names: readonly string[] },
): Generator<Found> {
  for (const name of options.names) {
    const node = members[name];
    if (node !== undefined) yield* leavesBelow({ name, node }, value[name], options.way, options.all);
  }
}

function found(schema: Members, target: Target, value: Value, all: boolean): Iterable<Found> {
  const step = target.steps.at(-1);
  if (step === undefined) return leavesOf(schema, value as Struct, { way: [], all, names: names(schema) });
  const way = target.steps.slice(0, -1).map(({ name, node, key }) => ({
    name,
    brackets: node.kind === "list" && key !== undefined ? keyPath(node, key) : "",
    tags: node.kind === "list" && key !== undefined ? tagsOf(node, key) : [],
  }));
  return leavesBelow(step, value, way, all || step.node.kind === "leaf");
}

function xpathLine({ way, type, value }: Found): string {
  return `${way.map(({ name, brackets }) => `/${name}${brackets}`).join("")} ${valueText(type, value)}`;
}

const escapeTag = (text: string) => text.replaceAll(/[,= ]/g, "\\$&");

/** InfluxDB's line protocol: `/route4/spi,/route4/id=tokyo value=1234i`. */
function influxLine({ way, type, value }: Found): string {
  const tags = way.flatMap(({ tags: own }, depth) => {
    const prefix = way
      .slice(0, depth + 1)
      .map(({ name }) => `/${name}`)
      .join("");
    return own.map(([name, text]) => `,${escapeTag(`${prefix}/${name}`)}=${escapeTag(text)}`);
  });
  const text = formatLeaf(type, value);
  const field =
    type.measured === "number"
      ? `${text}i`
      : type.measured === "boolean"
        ? text
        : `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
  return `${way.map(({ name }) => `/${name}`).join("")}${tags.join("")} value=${field}`;
}

/** printAt returns the text of what a path leads to, a line end after each line; keys and names that are in the path are not in it. */
export function printAt(schema: Members, target: Target, value: Value, options: PrintOptions = {}): string {
  const { format = "yang", printDefault = false } = options;
  const lines =
    format === "yang"
      ? yangLines(schema, target, value, printDefault)
      : [...found(schema, target, value, printDefault)].map(format === "xpath" ? xpathLine : influxLine);
  return lines.map((line) => `${line}\n`).join("");
}
