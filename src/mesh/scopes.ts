/**
 * The desired state by scope, as it changes: what a node has for another one is computed anew only where something is another of what it depends on.
 * In a large mesh one node's news would otherwise cost as much as all of them.
 */
import { type KernelObject, sameValue } from "../engine/mod.ts";
import type { Secret } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import type { MeshFacts, PeerPath } from "./facts.ts";
import { MESH_SCOPE, nodeObjects, ownObjects, peerScope } from "./objects.ts";
import { peerObjects } from "./peers.ts";
import { leastRestMtu, restMtu } from "./rest-routes.ts";

/** ScopeChanges is what is to be told to the engine: what goes first, since a key or a prefix may move from one scope to another. */
export interface ScopeChanges {
  readonly gone: readonly string[];
  readonly set: ReadonlyMap<string, readonly KernelObject[]>;
}

interface Inputs {
  readonly node: Node;
  readonly path: PeerPath | undefined;
  readonly presharedKey: Secret | undefined;
  readonly heardNext: boolean;
}

/** MeshScopes remembers what each scope was made of. */
export class MeshScopes {
  /** What all peers' objects depend on beside their own. */
  #shared: readonly unknown[] = [];
  #restMtuBytes: number | undefined;
  /** By scope; nothing for those that are not of one other node. */
  readonly #inputs = new Map<string, Inputs | undefined>();

  /** names returns all scopes. */
  names(): string[] {
    return [...this.#inputs.keys()];
  }

  /** has tells whether there is a scope. */
  has(scope: string): boolean {
    return this.#inputs.has(scope);
  }

  /** follow takes over what is true now, of all nodes. */
  follow(facts: MeshFacts): ScopeChanges {
    this.#restMtuBytes = leastRestMtu(facts);
    const { mesh, self, mtuBytes, peers } = facts;
    const { name, hub, role, site, overlay4, overlay6, local } = self;
    const rest = this.#restMtuBytes;
    const shared = [mesh, mtuBytes, peers, rest, name, hub, role, site, overlay4, overlay6, local];
    const all = !sameValue(shared, this.#shared);
    this.#shared = shared;
    const own = ownObjects(facts, rest);
    const set = new Map<string, readonly KernelObject[]>(own);
    const wanted = new Set(own.keys());
    for (const scope of own.keys()) this.#inputs.set(scope, undefined);
    for (const node of facts.nodes) {
      if (node.name === facts.self.name) continue;
      const scope = peerScope(node.name);
      wanted.add(scope);
      const objects = this.#renew(scope, inputsOf(node, facts), { facts, all });
      if (objects !== undefined) set.set(scope, objects);
    }
    const gone = this.names().filter((scope) => !wanted.has(scope));
    for (const scope of gone) this.#inputs.delete(scope);
    return { gone, set };
  }

  /** move takes over what is true of some nodes that have scopes; nothing else is looked at. */
  move(nodes: readonly Node[], facts: MeshFacts): ScopeChanges["set"] {
    const set = new Map<string, readonly KernelObject[]>();
    for (const node of nodes) {
      const scope = peerScope(node.name);
      const objects = this.#renew(scope, inputsOf(node, facts), { facts, all: false });
      if (objects === undefined) continue;
      set.set(scope, objects);
      const mtuBytes = restMtu(node, facts);
      if (mtuBytes === undefined || mtuBytes >= (this.#restMtuBytes ?? Number.POSITIVE_INFINITY)) continue;
      // The first at rest, or one that bears less. That the others may do with routes of their own again, the next look at all of them finds.
      this.#restMtuBytes = mtuBytes;
      set.set(MESH_SCOPE, nodeObjects(facts, mtuBytes));
    }
    return set;
  }

  /** doubt has all computed anew the next time. */
  doubt(): void {
    for (const scope of this.#inputs.keys()) this.#inputs.set(scope, undefined);
  }

  #renew(
    scope: string,
    inputs: Inputs,
    { facts, all }: { readonly facts: MeshFacts; readonly all: boolean },
  ): readonly KernelObject[] | undefined {
    const before = this.#inputs.get(scope);
    if (!all && before !== undefined && sameInputs(before, inputs)) return undefined;
    this.#inputs.set(scope, inputs);
    return peerObjects(inputs.node, facts, { sharedMtuBytes: this.#restMtuBytes });
  }
}

function inputsOf(node: Node, facts: MeshFacts): Inputs {
  return {
    node,
    path: facts.paths?.get(node.name),
    presharedKey: facts.pairKeys?.get(node.name),
    heardNext: facts.heardNext?.has(node.name) === true,
  };
}

/** A node of which nothing is new is most often the same value (hub/view.ts). */
function sameInputs(a: Inputs, b: Inputs): boolean {
  return (
    sameValue(a.node, b.node) &&
    a.heardNext === b.heardNext &&
    sameValue(a.presharedKey, b.presharedKey) &&
    sameValue(a.path, b.path)
  );
}
