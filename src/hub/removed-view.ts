/** What is left of a view when removals are taken out of it. */
import type { PublicKey } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import type { MeshView } from "./view.ts";

/**
 * withoutRemoved leaves out nodes whose keys were removed. A removal may be heard before the register that goes with it: a node that was
 * changing its key is then known by its next one. This node is gone when the key that it uses was removed.
 */
export function withoutRemoved(
  view: MeshView,
  removed: { has(key: PublicKey): boolean },
  ownKey: PublicKey,
): MeshView {
  const nodes = view.nodes.flatMap((node) => alive(node, removed));
  const gone = removed.has(ownKey);
  if (!gone && nodes.every((node, i) => node === view.nodes[i]) && nodes.length === view.nodes.length)
    return view;
  const { self, ...rest } = view;
  return { ...rest, nodes, ...(self === undefined || gone ? {} : { self }) };
}

function alive(node: Node, removed: { has(key: PublicKey): boolean }): readonly Node[] {
  const { nextPublicKey, ...rest } = node;
  const next = nextPublicKey !== undefined && !removed.has(nextPublicKey) ? nextPublicKey : undefined;
  if (!removed.has(node.publicKey)) return next === nextPublicKey ? [node] : [rest];
  return next === undefined ? [] : [{ ...rest, publicKey: next }];
}
