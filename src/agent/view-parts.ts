/** What is looked up in a view of the mesh again and again. */
import type { MeshView } from "../hub/mod.ts";
import type { Prefix } from "../net/mod.ts";
import type { Mesh, Node } from "../resources/mod.ts";

/** nodeOf finds a node. A view's nodes are in order of their names: in a large mesh a move looks at its own node only. */
export function nodeOf({ nodes }: MeshView, name: string): Node | undefined {
  let [low, high] = [0, nodes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((nodes[middle] as Node).name < name) low = middle + 1;
    else high = middle;
  }
  return nodes[low]?.name === name ? nodes[low] : undefined;
}

/** networksOf returns the networks that only the tunnel carries. */
export function networksOf(mesh: Mesh): Prefix[] {
  return [mesh.overlay4, mesh.overlay6, mesh.enrol6, mesh.pods4, mesh.pods6].filter(
    (prefix) => prefix !== undefined,
  );
}
