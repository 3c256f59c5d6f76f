/** What a node knows of the mesh: published entries, parsed. */
import { type Mesh, type Node, parseObject } from "../resources/mod.ts";

/** MeshView is the register's content as one node may see it. */
export interface MeshView {
  readonly mesh: Mesh;
  /** This node; absent when it was removed. */
  readonly self?: Node;
  /** All other nodes, by name. */
  readonly nodes: readonly Node[];
  /** Names of nodes whose pair with this one is published direct. */
  readonly direct: ReadonlySet<string>;
}

/** pairKey returns the key under which a pair's path is published. */
export function pairKey(a: string, b: string): string {
  return a < b ? `pair/${a}/${b}` : `pair/${b}/${a}`;
}

/** concerns tells whether an entry is for this node: everything but the pairs of others. */
export function concerns(key: string, name: string): boolean {
  if (!key.startsWith("pair/")) return true;
  const [, a, b] = key.split("/");
  return a === name || b === name;
}

/**
 * meshView parses entries (key to canonical JSON); throws when there is no valid mesh, or when this node's own entry is not valid: that
 * it cannot be read does not mean that the node was removed. Another node that is not valid is left out.
 */
export function meshView(entries: ReadonlyMap<string, string>, selfName: string): MeshView {
  const mesh = read(entries.get("mesh"));
  if (mesh?.kind !== "Mesh")
    throw new Error("Cannot read the register's content: it holds no mesh; update this node");
  const nodes: Node[] = [];
  const direct = new Set<string>();
  let self: Node | undefined;
  for (const [key, value] of entries) {
    if (key.startsWith("node/")) {
      const resource = read(value);
      if (resource?.kind !== "Node") {
        if (key !== `node/${selfName}`) continue;
        throw new Error(`Cannot read the register's entry of ${selfName}, this node; update this node`);
      }
      if (resource.value.name === selfName) self = resource.value;
      else nodes.push(resource.value);
    } else if (key.startsWith("pair/")) {
      const [, a, b] = key.split("/") as [string, string, string];
      if (concerns(key, selfName)) direct.add(a === selfName ? b : a);
    }
  }
  nodes.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { mesh: mesh.value, ...(self === undefined ? {} : { self }), nodes, direct };
}

function read(text: string | undefined) {
  return text === undefined ? undefined : parseObject(JSON.parse(text), { problems: [], strict: false });
}
