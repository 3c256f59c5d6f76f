/**
 * Facts: what nodes say of themselves and where hubs see them. They change often and matter now, so they are not in the register:
 * no command, no revision, no signature. Hubs tell them to each other and to their nodes, with or without etcd; of two facts the
 * newer is taken, so that any order and any repetition gives the same.
 *
 * A fact is a hint, and proves nothing: whoever uses an endpoint proves it with a handshake.
 */
import { z } from "zod";
import { endpointEqual, formatEndpoint, formatPrefix, type Endpoint } from "../net/mod.ts";
import {
  canonicalJson,
  endpointSchema,
  hubDistanceSchema,
  type Json,
  type Node,
  present,
  prefixSchema,
  tlsPinSchema,
} from "../resources/mod.ts";
import { EdgeBook, edgeFactSchema, edgeSchema, edgeStateJson } from "./edge-book.ts";

/** The most facts that a book holds: of 5,000 nodes, what they say and what five hubs see. */
const MAX_FACTS = 32_768;
/** Changes that are remembered; a reader that is further behind gets everything. */
const MAX_CHANGES = 32_768;

/** The most Routes that a node tells of, and how many characters of each reason. */
const MOST_ROUTES = 1024;
const MOST_REASON = 300;
/** Bytes of Routes in what a node says: in a line of NODE_LINE_BYTES the rest has room beside it. Hubs end a connection with longer ones. */
const ROUTES_BYTES = 7 * 1024;

/** RouteFact is what a node says of a Route that it runs. */
export interface RouteFact {
  readonly name: string;
  /** Whether packets go by it now. */
  readonly up: boolean;
  /** Why not, or what of it is wrong: its last error. */
  readonly reason?: string | undefined;
}

/** routeFacts returns as many as are told, with as much of each: of many, reasons are shorter, and then those that are down come first. */
export function routeFacts(routes: readonly RouteFact[]): RouteFact[] {
  for (const most of [MOST_REASON, MOST_REASON / 5, 0]) {
    const all = routes.slice(0, MOST_ROUTES).map((route) => shortened(route, most));
    if (all.reduce((sum, route) => sum + lineBytes(route), 0) <= ROUTES_BYTES) return all;
  }
  let room = ROUTES_BYTES;
  return [...routes.filter(({ up }) => !up), ...routes.filter(({ up }) => up)]
    .map((route) => shortened(route, 0))
    .filter((route) => (room -= lineBytes(route)) >= 0);
}

function shortened({ name, up, reason }: RouteFact, most: number): RouteFact {
  return { name, up, ...(reason === undefined || most === 0 ? {} : { reason: reason.slice(0, most) }) };
}

const lineBytes = (route: RouteFact) => Buffer.byteLength(JSON.stringify(route)) + 1;

/** factsSchema reads what a node finds out about itself. */
export const factsSchema = z.object({
  local: z.array(endpointSchema).max(16),
  mapped: z.array(endpointSchema).max(8),
  // The range of Node.status.mtuBytes.
  mtuBytes: z.number().int().min(1280).max(65535).optional(),
  /** Networks behind the node that it asks to have routed to it; without an approval they mean nothing. */
  announced: z.array(prefixSchema()).max(64).optional(),
  /** Hubs that the node reaches. */
  hubs: z.array(hubDistanceSchema).max(16).default([]),
  /** Of a hub that takes TLS: the hash of its key. */
  tlsPin: tlsPinSchema.optional(),
  /** Routes of Gateways that the node runs. */
  routes: z
    .array(
      z.object({
        name: z.string().max(253),
        up: z.boolean(),
        reason: z.string().max(MOST_REASON).optional(),
      }),
    )
    .max(MOST_ROUTES)
    .optional(),
  /** The node's edge; `null` where it has none, absent while the node has not looked. */
  edge: edgeSchema.nullish(),
  version: z.string().max(64),
});

/** NodeFacts is what a node tells a hub of itself. */
export type NodeFacts = z.output<typeof factsSchema>;

/** factSchema reads one fact. */
export const factSchema = z.object({
  /** Name of the node that it is about. */
  node: z.string().min(1).max(253),
  /** The hub that saw it; absent: what the node says of itself. */
  by: z.string().min(1).max(253).optional(),
  /** Milliseconds since 1970 by the clock of the hub that learnt it, and always higher than what that hub knew before. */
  at: z.number().int().min(0),
  seen: endpointSchema.optional(),
  says: factsSchema.optional(),
});

/** Fact is one thing that is known of a node. */
export type Fact = z.output<typeof factSchema>;

/** factJson returns a fact as it is sent. */
export function factJson(fact: Fact): Json {
  return present({
    node: fact.node,
    by: fact.by,
    at: fact.at,
    seen: fact.seen && formatEndpoint(fact.seen),
    says: fact.says && factsJson(fact.says),
  });
}

/** factsJson returns what a node says of itself as it is sent. */
export function factsJson(facts: NodeFacts): Json {
  return present({
    ...facts,
    local: facts.local.map(formatEndpoint),
    mapped: facts.mapped.map(formatEndpoint),
    announced: facts.announced?.map(formatPrefix),
    hubs: facts.hubs.map((hub) => present({ ...hub })),
    routes: facts.routes?.map((route) => present({ ...route })),
    edge: facts.edge && edgeStateJson(facts.edge),
  });
}

/** FactStatus is what a book knows of a node, as the node's status has it. */
export type FactStatus = Pick<
  Node,
  "observed" | "mapped" | "hubs" | "local" | "mtuBytes" | "announced" | "tlsPin"
>;

const NO_ROUTES: NonNullable<NodeFacts["routes"]> = [];

interface Entry {
  readonly fact: Fact;
  readonly text: string;
}

/** FactBook holds facts in memory; every change has a number. */
export class FactBook {
  /** What nodes say of their edges, which is told to hubs alone: it has numbers of its own. */
  readonly edges = new EdgeBook();
  readonly #entries = new Map<string, Entry>();
  readonly #byNode = new Map<string, Map<string, Entry>>();
  /** What `of` has said: while nothing new is known of a node, it is the same value. */
  readonly #statuses = new Map<string, FactStatus>();
  /** Keys of entries in order of their changes; the first has number `#first`. */
  #changes: string[] = [];
  #first = 1;

  /** Number of the last change. */
  get version(): number {
    return this.#first + this.#changes.length - 1;
  }

  /** observe stores where a hub sees a node; true when that is new. */
  observe(node: string, seen: { readonly hub: string; readonly endpoint: Endpoint }, nowMs: number): boolean {
    const known = this.#entries.get(keyOf({ node, by: seen.hub }))?.fact;
    if (known?.seen !== undefined && endpointEqual(known.seen, seen.endpoint)) return false;
    const at = Math.max(nowMs, (known?.at ?? 0) + 1);
    return this.merge({ node, by: seen.hub, at, seen: seen.endpoint });
  }

  /** say stores what a node says of itself; true when something is new that nodes are told. */
  say(node: string, { edge, ...says }: NodeFacts, nowMs: number): boolean {
    if (edge !== undefined) this.edges.say(node, edge, nowMs);
    const known = this.#entries.get(keyOf({ node }))?.fact;
    if (known?.says !== undefined && canonicalJson(factsJson(known.says)) === canonicalJson(factsJson(says)))
      return false;
    return this.merge({ node, at: Math.max(nowMs, (known?.at ?? 0) + 1), says });
  }

  /** merge takes a fact over if it is newer than what is known; true when it did. */
  merge(fact: Fact): boolean {
    const key = keyOf(fact);
    const text = canonicalJson(factJson(fact));
    const known = this.#entries.get(key);
    if (known !== undefined) {
      if (fact.at < known.fact.at) return false;
      // The same moment at two hubs: any rule will do that both have.
      if (fact.at === known.fact.at && text <= known.text) return false;
    } else if (this.#entries.size >= MAX_FACTS) return false;
    const entry = { fact, text };
    this.#entries.set(key, entry);
    const own = this.#byNode.get(fact.node) ?? new Map<string, Entry>();
    this.#byNode.set(fact.node, own.set(fact.by ?? "", entry));
    this.#statuses.delete(fact.node);
    this.#changes.push(key);
    if (this.#changes.length > MAX_CHANGES) {
      const drop = MAX_CHANGES / 2;
      this.#changes = this.#changes.slice(drop);
      this.#first += drop;
    }
    return true;
  }

  /** of returns what is known of a node; the same value until that changes. */
  of(node: string): FactStatus {
    const known = this.#statuses.get(node) ?? this.#of(node);
    if (this.#byNode.has(node)) this.#statuses.set(node, known);
    return known;
  }

  #of(node: string): FactStatus {
    const own = this.#byNode.get(node);
    const says = own?.get("")?.fact.says;
    const observed = [...(own?.values() ?? [])]
      .flatMap(({ fact }) =>
        fact.by === undefined || fact.seen === undefined ? [] : [{ hub: fact.by, endpoint: fact.seen }],
      )
      .sort((a, b) => (a.hub < b.hub ? -1 : 1));
    return {
      observed,
      mapped: says?.mapped ?? [],
      hubs: says?.hubs ?? [],
      local: says?.local ?? [],
      ...(says?.mtuBytes === undefined ? {} : { mtuBytes: says.mtuBytes }),
      ...(says?.announced === undefined ? {} : { announced: says.announced }),
      ...(says?.tlsPin === undefined ? {} : { tlsPin: says.tlsPin }),
    };
  }

  /** routes returns what a node says of the Routes that it runs; the same value until it says something else. */
  routes(node: string): NonNullable<NodeFacts["routes"]> {
    return this.#byNode.get(node)?.get("")?.fact.says?.routes ?? NO_ROUTES;
  }

  /** since returns the facts that changed after a version, each once; everything when that is too long ago or of the future. */
  since(version: number): readonly Fact[] {
    if (version > this.version) return this.all();
    if (version + 1 < this.#first) return this.all();
    const keys = new Set(this.#changes.slice(version + 1 - this.#first));
    return [...keys].flatMap((key) => this.#entries.get(key)?.fact ?? []);
  }

  all(): readonly Fact[] {
    return [...this.#entries.values()].map(({ fact }) => fact);
  }

  /** keepOnly forgets what is known of nodes, and seen by hubs, that are gone. */
  keepOnly(nodes: ReadonlySet<string>): void {
    this.edges.keepOnly(nodes);
    for (const [key, { fact }] of this.#entries) {
      if (nodes.has(fact.node) && (fact.by === undefined || nodes.has(fact.by))) continue;
      this.#entries.delete(key);
      this.#statuses.delete(fact.node);
      const own = this.#byNode.get(fact.node);
      own?.delete(fact.by ?? "");
      if (own?.size === 0) this.#byNode.delete(fact.node);
    }
  }

  /** format returns the text of a file that holds all facts. */
  format(): string {
    // Under a name of its own: a hub of before reads them as what they are not otherwise.
    const edges = this.edges.since(0).map(({ node: edgeOf, ...fact }) => ({ edgeOf, ...fact }));
    return `${JSON.stringify([...this.all().map(factJson), ...edges])}\n`;
  }

  /** load takes over what `format` wrote; a file that is damaged is as good as none. */
  load(text: string): void {
    try {
      for (const value of JSON.parse(text) as object[])
        if ("edgeOf" in value) this.edges.merge(edgeFactSchema.parse({ ...value, node: value.edgeOf }));
        else this.merge(factSchema.parse(value));
    } catch {
      // They are told again.
    }
  }
}

function keyOf(fact: { readonly node: string; readonly by?: string | undefined }): string {
  return `${fact.node}\n${fact.by ?? ""}`;
}
