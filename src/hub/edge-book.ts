/**
 * What nodes say of their edges in fabrics (docs/edge.md): which resources are not, or not wholly, there. Hubs tell it each other and no node: a wrong
 * resource may be wrong on thousands of nodes at once, and none of them needs to know it of another.
 */
import { z } from "zod";
import { type Json, present } from "../resources/mod.ts";

/** The most resources that a node tells of, and how many characters of each message. */
const MOST_FAILED = 64;
const MOST_MESSAGE = 240;
/** Bytes of them in what a node says: in a line of NODE_LINE_BYTES the rest, Routes among it, has room beside it. */
const EDGE_BYTES = 3 * 1024;
/** The most nodes that a book holds: as many as may be connected. */
const MAX_NODES = 8192;
/** In what is said of a resource: so many different messages, and so many nodes by name of each. */
const MOST_MESSAGES_SAID = 5;
const MOST_NODES_SAID = 5;

/** edgeSchema reads what a node says of its edge. */
export const edgeSchema = z.object({
  /** Resources that are not, or not wholly, as they ask. */
  failed: z
    .array(
      z.object({
        /** Of a resource; `Node`: of none. */
        kind: z.string().max(32),
        name: z.string().max(253),
        /** `failed`: the kernel, a program or a neighbor's side is in the way. */
        reason: z.enum(["invalid", "dependency", "failed"]),
        message: z.string().max(MOST_MESSAGE),
      }),
    )
    .max(MOST_FAILED),
  /** How many more there are. */
  more: z.number().int().min(0),
});

/** EdgeState is what a node says of its edge. */
export type EdgeState = z.output<typeof edgeSchema>;

/** FailedResource is one thing that is wrong with a resource on a node. */
export type FailedResource = EdgeState["failed"][number];

/** edgeState returns as much as is told: of many, messages are shorter; of too many, the first are told and the rest is counted. */
export function edgeState(all: readonly FailedResource[]): EdgeState {
  const shortened = (most: number) =>
    all.slice(0, MOST_FAILED).map((one) => ({ ...one, message: one.message.slice(0, most) }));
  for (const most of [MOST_MESSAGE, MOST_MESSAGE / 4]) {
    const failed = shortened(most);
    if (bytesOf(failed) <= EDGE_BYTES) return { failed, more: all.length - failed.length };
  }
  const failed = shortened(0);
  while (bytesOf(failed) > EDGE_BYTES) failed.pop();
  return { failed, more: all.length - failed.length };
}

function bytesOf(failed: readonly FailedResource[]): number {
  return Buffer.byteLength(JSON.stringify(failed));
}

/** edgeStateJson returns it as it is sent. */
export function edgeStateJson({ failed, more }: EdgeState): Json {
  return { failed: failed.map((one) => present({ ...one })), more };
}

/** edgeFactSchema reads what hubs tell each other of a node. */
export const edgeFactSchema = z.object({
  node: z.string().min(1).max(253),
  /** As of a Fact. */
  at: z.number().int().min(0),
  /** `null`: the node has no edge any more. */
  edge: edgeSchema.nullable(),
});

/** EdgeFact is what is known of one node's edge. */
export type EdgeFact = z.output<typeof edgeFactSchema>;

/** edgeFactJson returns a fact as it is sent. */
export function edgeFactJson({ node, at, edge }: EdgeFact): Json {
  return { node, at, edge: edge === null ? null : edgeStateJson(edge) };
}

/** EdgeOfAll is what all nodes together say of a resource. `up` is undefined while that is not known. */
export interface EdgeOfAll {
  readonly up: boolean | undefined;
  /** Where it is not up: on which nodes, and why. Bounded, however many they are. */
  readonly reason?: string;
}

interface Entry {
  readonly fact: EdgeFact;
  /** The book's version since which it is known. */
  readonly since: number;
}

/** Index has, by resource, the nodes that say each message of it. */
interface Index {
  readonly version: number;
  readonly failed: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;
  readonly nodes: number;
  /** Nodes that have more to tell than they may. */
  readonly brief: number;
}

/** EdgeBook holds what nodes say of their edges; every change has a number. */
export class EdgeBook {
  readonly #entries = new Map<string, Entry>();
  #version = 0;
  #index: Index | undefined;

  /** Number of the last change. */
  get version(): number {
    return this.#version;
  }

  /** say stores what a node says; `null`: it has no edge. */
  say(node: string, edge: EdgeState | null, nowMs: number): void {
    const known = this.#entries.get(node)?.fact;
    if (textOf(known?.edge) === textOf(edge)) return;
    this.merge({ node, at: Math.max(nowMs, (known?.at ?? 0) + 1), edge });
  }

  /** merge takes a fact over if it is newer than what is known; true when it did. */
  merge(fact: EdgeFact): boolean {
    const known = this.#entries.get(fact.node)?.fact;
    if (known !== undefined) {
      if (fact.at < known.at) return false;
      // The same moment at two hubs: any rule will do that both have.
      if (fact.at === known.at && textOf(fact.edge) <= textOf(known.edge)) return false;
    } else if (this.#entries.size >= MAX_NODES) return false;
    this.#entries.set(fact.node, { fact, since: ++this.#version });
    return true;
  }

  /** of returns what a node says of its edge; undefined where it has none, or has said nothing. */
  of(node: string): EdgeState | undefined {
    return this.#entries.get(node)?.fact.edge ?? undefined;
  }

  /** since returns what changed after a version. */
  since(version: number): readonly EdgeFact[] {
    if (version === this.#version) return [];
    return [...this.#entries.values()].flatMap(({ fact, since }) => (since > version ? [fact] : []));
  }

  /** ofAll returns what all nodes together say of a resource in fabrics. */
  ofAll(kind: string, name: string): EdgeOfAll {
    const { failed, nodes, brief } = this.#indexed();
    const messages = failed.get(keyOf({ kind, name }));
    if (messages !== undefined) return { up: false, reason: said(messages) };
    if (nodes === 0) return { up: undefined, reason: "no node has said anything of an edge yet" };
    if (brief === 0) return { up: true };
    return {
      up: undefined,
      reason: `more is wrong than is told on ${brief} nodes: ask them (causeway status)`,
    };
  }

  #indexed(): Index {
    if (this.#index?.version === this.#version) return this.#index;
    const failed = new Map<string, Map<string, string[]>>();
    let [nodes, brief] = [0, 0];
    for (const node of [...this.#entries.keys()].sort()) {
      const edge = this.of(node);
      if (edge === undefined) continue;
      nodes++;
      if (edge.more > 0) brief++;
      for (const one of edge.failed) {
        const messages = failed.get(keyOf(one)) ?? new Map<string, string[]>();
        failed.set(keyOf(one), messages);
        const names = messages.get(one.message);
        if (names === undefined) messages.set(one.message, [node]);
        else if (names.at(-1) !== node) names.push(node);
      }
    }
    return (this.#index = { version: this.#version, failed, nodes, brief });
  }

  /** keepOnly forgets nodes that are gone. */
  keepOnly(nodes: ReadonlySet<string>): void {
    for (const node of this.#entries.keys())
      if (!nodes.has(node)) {
        this.#entries.delete(node);
        this.#version++;
      }
  }
}

function keyOf({ kind, name }: { readonly kind: string; readonly name: string }): string {
  return `${kind} ${name}`;
}

function textOf(edge: EdgeState | null | undefined): string {
  // Its fields stand in one order, that of the schema.
  return edge ? JSON.stringify(edge) : "";
}

/** What most nodes say comes first. */
function said(messages: ReadonlyMap<string, readonly string[]>): string {
  const all = [...messages].sort(([a, of], [b, also]) => also.length - of.length || (a < b ? -1 : 1));
  const texts = all.slice(0, MOST_MESSAGES_SAID).map(([message, nodes]) => {
    const names = nodes.slice(0, MOST_NODES_SAID).join(", ");
    const more = nodes.length - MOST_NODES_SAID;
    return `on ${names}${more > 0 ? ` and ${more} more nodes` : ""}: ${message || "see causeway status there"}`;
  });
  const left = all.length - texts.length;
  return [...texts, ...(left > 0 ? [`and ${left} more messages of other nodes`] : [])].join("; ");
}
