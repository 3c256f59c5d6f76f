/** What a node knows of the mesh: published entries, parsed. */
import { type Mesh, type Node, parseObject } from "../resources/mod.ts";
import { isOwn } from "./signed-state.ts";

/** MeshView is the register's content as one node may see it. */
export interface MeshView {
  readonly mesh: Mesh;
  /** This node; absent when it was removed. */
  readonly self?: Node;
  /** All other nodes, by name. */
  readonly nodes: readonly Node[];
}

/** concerns tells whether an entry is for this node: everything but what is for another alone. */
export function concerns(key: string, name: string): boolean {
  return !isOwn(key) || key.split("/")[1] === name;
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
  let self: Node | undefined;
  for (const [key, value] of entries) {
    if (!key.startsWith("node/")) continue;
    const resource = read(value);
    if (resource?.kind !== "Node") {
      if (key !== `node/${selfName}`) continue;
      throw new Error(`Cannot read the register's entry of ${selfName}, this node; update this node`);
    }
    if (resource.value.name === selfName) self = resource.value;
    else nodes.push(resource.value);
  }
  nodes.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { mesh: mesh.value, ...(self === undefined ? {} : { self }), nodes };
}

function read(text: string | undefined) {
  return text === undefined ? undefined : parseObject(JSON.parse(text), { problems: [], strict: false });
}
