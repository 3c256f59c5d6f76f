/**
 * What schemas are made of, after YANG (RFC 7950, section 4.2.2): leaves, lists of leaves, containers, and lists of entries with keys. A schema
 * is a table of them; the types of the values follow from it.
 */
import type { LeafType } from "./leaf-type.ts";

/** Leaf is one value. `default` fills in what is left out; without one it must be there if `mandatory`. */
export interface Leaf<T, P extends "mandatory" | "default" | "optional"> {
  readonly kind: "leaf";
  readonly presence: P;
  readonly type: LeafType<T>;
  readonly default?: T;
}

/** LeafList is several values, in order, none of them twice. */
export interface LeafList<T> {
  readonly kind: "leaf-list";
  readonly type: LeafType<T>;
  /** How many there must be at least. */
  readonly least: number;
}

/** Container is members under one name. */
export interface Container<M extends Members> {
  readonly kind: "container";
  readonly members: M;
}

/** List is entries, told apart by the leaves that are its keys. */
export interface List<M extends Members> {
  readonly kind: "list";
  /** Names of leaves among the members. */
  readonly keys: readonly string[];
  /** Sets of members that no two entries may have the same values of. */
  readonly unique: readonly (readonly string[])[];
  /** How many entries there must be at least, and may be at most. */
  readonly least: number;
  readonly most: number;
  readonly members: M;
}

/** AnyLeaf is a leaf of whichever type. */
export type AnyLeaf = Leaf<unknown, "mandatory" | "default" | "optional">;

/** SchemaNode is one of them. */
export type SchemaNode = AnyLeaf | LeafList<unknown> | Container<Members> | List<Members>;

/** Members are the nodes of a container, of a list's entry or of a whole schema, by name. */
export interface Members {
  readonly [name: string]: SchemaNode;
}

/** ValueOf is what a node's value is. Entries of a list are in a map, by the text of their keys with blanks between. */
export type ValueOf<N> =
  N extends Leaf<infer T, AnyLeaf["presence"]>
    ? T
    : N extends LeafList<infer T>
      ? readonly T[]
      : N extends Container<infer M>
        ? StructOf<M>
        : N extends List<infer M>
          ? ReadonlyMap<string, StructOf<M>>
          : never;

type OptionalName<M> = {
  [K in keyof M]: M[K] extends Leaf<unknown, "optional"> | Container<Members> ? K : never;
}[keyof M];

/** StructOf is what the values of members are: absent are optional leaves and containers only. */
export type StructOf<M> = { readonly [K in Exclude<keyof M, OptionalName<M>>]: ValueOf<M[K]> } & {
  readonly [K in OptionalName<M>]?: ValueOf<M[K]>;
};

/** Value is any node's value, as generic code sees it. */
export type Value = unknown;
/** Struct is the values of any members. */
export interface Struct {
  readonly [name: string]: Value;
}
/** Entries are the value of any list. */
export type Entries = ReadonlyMap<string, Struct>;

/** mandatory makes a leaf that must be there. */
export function mandatory<T>(type: LeafType<T>): Leaf<T, "mandatory"> {
  return { kind: "leaf", presence: "mandatory", type };
}

/** optional makes a leaf that may be absent. */
export function optional<T>(type: LeafType<T>): Leaf<T, "optional"> {
  return { kind: "leaf", presence: "optional", type };
}

/** preset makes a leaf with a default. */
export function preset<T>(type: LeafType<T>, value: NoInfer<T>): Leaf<T, "default"> {
  return { kind: "leaf", presence: "default", type, default: value };
}

/** leaves makes a list of leaves. */
export function leaves<T>(type: LeafType<T>, least = 0): LeafList<T> {
  return { kind: "leaf-list", type, least };
}

/** container puts members under one name. */
export function container<M extends Members>(members: M): Container<M> {
  return { kind: "container", members };
}

/** list makes a list with one key, or several with blanks between, as YANG writes them. */
export function list<M extends Members>(
  keys: string,
  options: {
    readonly unique?: readonly string[];
    readonly least?: number;
    readonly most?: number;
    readonly members: M;
  },
): List<M> {
  const { unique = [], least = 0, most = Number.POSITIVE_INFINITY, members } = options;
  return {
    kind: "list",
    keys: keys.split(" "),
    unique: unique.map((names) => names.split(" ")),
    least,
    most,
    members,
  };
}

/** memberOf returns a member by name; undefined if there is none. */
export function memberOf(members: Members, name: string): SchemaNode | undefined {
  return Object.hasOwn(members, name) ? members[name] : undefined;
}

/** formatLeaf returns the canonical text of a leaf's value. */
export function formatLeaf(type: LeafType<unknown>, value: Value): string {
  return type.format(value);
}

/** leafTypeOf returns the type of a leaf among members, such as a key of a list. */
export function leafTypeOf(members: Members, name: string): LeafType<unknown> {
  const node = members[name];
  if (node?.kind !== "leaf") throw new Error(`${name} is no leaf of the schema`);
  return node.type;
}

/** entryKey returns what an entry is found by in its list. */
export function entryKey(node: List<Members>, entry: Struct): string {
  return node.keys.map((name) => formatLeaf(leafTypeOf(node.members, name), entry[name])).join(" ");
}
