/**
 * Visibility: of what is published, what each node may see. Without rules that is everything but what is for another alone. With
 * rules a node sees the nodes that it may talk to, so what it is told names nobody else.
 *
 * ```
 *  all entries ─┬─ of one class: mesh, hubs, nodes that the class may talk to ──▶ shared, digested once for the class
 *               └─ of one node: for/NODE/…                                   ──▶ own
 * ```
 * A node of a class that may not talk to itself still sees itself: as `for/NODE/self`.
 */
import { mayTalk, type PolicyNode, talkClasses } from "../mesh/mod.ts";
import { canonicalJson, EXTERNAL_ROLE, type Json, parseObject } from "../resources/mod.ts";
import { type Entries, isOwn, selfKey, sharedDigest } from "./signed-state.ts";

/** SharedPart is what all nodes of one class see. */
export interface SharedPart {
  readonly entries: Entries;
  readonly digest: string;
}

const NODE = "node/";
const PEER = "peer/";
const NOTHING: Entries = new Map();

/** Labels is what rules see of nodes' entries, by the entry's text, which is parsed once. */
export type Labels = Map<string, Labelled>;

/** Labelled is a node or an external peer as rules see it; `id` is the key of its entry. */
export type Labelled = PolicyNode & { readonly id: string };

/** Visibility divides the entries of one revision. */
export class Visibility {
  readonly #entries: Entries;
  readonly #own = new Map<string, Map<string, string>>();
  /** By key of the entry. */
  readonly #nodes = new Map<string, Labelled>();
  readonly #shared = new Map<number | undefined, SharedPart>();
  readonly #rules: ReturnType<typeof rulesOf>;
  readonly #classes: ReturnType<typeof talkClasses> | undefined;
  readonly #talking = new Set<string>();

  /** `known` are labels of an earlier revision; those of this one are added to `labels`. */
  constructor(
    entries: Entries,
    known: ReadonlyMap<string, Labelled> = new Map(),
    labels: Labels = new Map(),
  ) {
    this.#entries = entries;
    this.#rules = rulesOf(entries.get("mesh"));
    for (const [key, value] of entries) if (isOwn(key)) this.#add(key.split("/")[1] as string, key, value);
    if (this.#rules === undefined) return;
    for (const [key, value] of entries)
      if (key.startsWith(NODE) || key.startsWith(PEER)) {
        const node = known.get(value) ?? labelsOf(key, value);
        labels.set(value, node);
        this.#nodes.set(key, node);
      }
    this.#classes = talkClasses({ rules: this.#rules }, [...this.#nodes.values()]);
    for (const [a, b] of this.#classes.allowed) this.#talking.add(`${a} ${b}`).add(`${b} ${a}`);
    for (const [key, number] of this.#classes.classOf)
      if (key.startsWith(NODE) && !this.#talking.has(`${number} ${number}`)) {
        const name = key.slice(NODE.length);
        this.#add(name, selfKey(name), entries.get(key) as string);
      }
  }

  #add(node: string, key: string, value: string): void {
    this.#own.set(node, (this.#own.get(node) ?? new Map<string, string>()).set(key, value));
  }

  /** Whether the mesh has rules. */
  get ruled(): boolean {
    return this.#rules !== undefined;
  }

  /** own returns what is for one node alone. */
  own(node: string): Entries {
    return this.#own.get(node) ?? NOTHING;
  }

  /** shared returns what a node has in common with all nodes of its class; one that is not registered sees the mesh and its hubs. */
  shared(node: string): SharedPart {
    const number = this.#classes?.classOf.get(`${NODE}${node}`);
    const known = this.#shared.get(number);
    if (known !== undefined) return known;
    const entries = new Map(
      [...this.#entries].filter(([key]) => !isOwn(key) && this.#classSees(number, key)),
    );
    const part = { entries, digest: sharedDigest(entries) };
    this.#shared.set(number, part);
    return part;
  }

  #classSees(number: number | undefined, key: string): boolean {
    const labelled = this.#nodes.get(key);
    if (this.#classes === undefined || labelled === undefined || labelled.hub) return true;
    const other = this.#classes.classOf.get(key);
    return number !== undefined && this.#talking.has(`${number} ${other}`);
  }

  /**
   * keyFor returns the key under which a node sees an entry that is published under `key`, or undefined when it does not see it.
   * One that was removed keeps its key: who never saw it is told a name that means nothing any more.
   */
  keyFor(node: string, key: string): string | undefined {
    if (isOwn(key)) return key.split("/")[1] === node ? key : undefined;
    if (key === `${NODE}${node}` && this.#own.get(node)?.has(selfKey(node))) return selfKey(node);
    if (!this.#entries.has(key)) return key;
    return this.#classSees(this.#classes?.classOf.get(`${NODE}${node}`), key) ? key : undefined;
  }

  /** sees tells whether a node is told of another. */
  sees(node: string, other: string): boolean {
    if (this.#rules === undefined || node === other) return true;
    const [a, b] = [this.#nodes.get(`${NODE}${node}`), this.#nodes.get(`${NODE}${other}`)];
    return a !== undefined && b !== undefined && mayTalk({ rules: this.#rules }, a, b);
  }

  /** sameAs tells whether every node that is in both sees the same others in both; then changes alone bring a node from one to the other. */
  sameAs(before: Visibility): boolean {
    if (
      canonicalJson((this.#rules ?? null) as unknown as Json) !==
      canonicalJson((before.#rules ?? null) as unknown as Json)
    )
      return false;
    for (const [key, node] of this.#nodes) {
      const old = before.#nodes.get(key);
      if (old !== undefined && (old.role !== node.role || old.site !== node.site || old.hub !== node.hub))
        return false;
    }
    return true;
  }
}

function rulesOf(mesh: string | undefined) {
  if (mesh === undefined) return undefined;
  const resource = parseObject(JSON.parse(mesh), { problems: [], strict: false });
  return resource?.kind === "Mesh" ? resource.value.rules : undefined;
}

function labelsOf(key: string, value: string): Labelled {
  const { hub, role, site } = (JSON.parse(value) as { spec: { hub?: unknown; role?: string; site?: string } })
    .spec;
  const peer = key.startsWith(PEER);
  const seen = role ?? (peer ? EXTERNAL_ROLE : undefined);
  return {
    id: key,
    name: key.slice(NODE.length),
    // Of an external peer it is the name of the hub that carries it.
    hub: hub === true,
    ...(seen === undefined ? {} : { role: seen }),
    ...(site === undefined ? {} : { site }),
  };
}
