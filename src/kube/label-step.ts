/** Labels of Nodes that selections of the register look at: told to the register, so that nodes and admission know them. */
import { type LabelChange, type NodeLabels, sameLabels, withLabels } from "../resources/mod.ts";
import { type KubeNode, type MeshNode, meshNodeOf } from "./node-ranges.ts";

/** labelStep returns what of a node's labels in the register is to change; undefined: nothing. Labels that nobody looks at stay as they are. */
export function labelStep(
  labels: NodeLabels,
  { before = {}, keys }: { readonly before?: NodeLabels | undefined; readonly keys: ReadonlySet<string> },
): LabelChange | undefined {
  const valueOf = (key: string) => (Object.hasOwn(labels, key) ? (labels[key] as string) : null);
  const change = Object.fromEntries([...keys].map((key) => [key, valueOf(key)]));
  return sameLabels(before, withLabels(before, change)) ? undefined : change;
}

/** LabelSteps are what is to change of all nodes. */
export interface LabelSteps {
  /** By the name of the node of the mesh. */
  readonly changes: ReadonlyMap<string, LabelChange>;
  /** Nodes of the mesh that several Nodes say they are, in words: which of these is the machine is not known, and labels stay. */
  readonly disputed: readonly string[];
}

/** labelSteps compares all Nodes with what the register has of them; `members` are its nodes by their overlay addresses. */
export function labelSteps(
  nodes: readonly KubeNode[],
  { members, keys }: { readonly members: ReadonlyMap<string, MeshNode>; readonly keys: ReadonlySet<string> },
): LabelSteps {
  const changes = new Map<string, LabelChange>();
  if (keys.size === 0) return { changes, disputed: [] };
  const claims = new Map<MeshNode, KubeNode[]>();
  for (const node of nodes) {
    const member = meshNodeOf(node, members);
    if (member !== undefined) claims.set(member, [...(claims.get(member) ?? []), node]);
  }
  const disputed: string[] = [];
  for (const [{ name, labels: before }, [node, ...others]] of claims) {
    if (node === undefined) continue;
    const change = labelStep(node.labels, { before, keys });
    if (others.length > 0) {
      const names = [node, ...others].map((one) => one.name).sort();
      disputed.push(
        `Nodes ${names.join(" and ")} have an overlay address of node ${name} as their InternalIP, whose labels stay as they are; delete those that are not that machine`,
      );
    } else if (change !== undefined) changes.set(name, change);
  }
  return { changes, disputed };
}
