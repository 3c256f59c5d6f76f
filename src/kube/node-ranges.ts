/**
 * Node ranges: each node's part of the pod network, as the register has it, is told to Kubernetes (`Node.spec.podCIDRs`), which never changes it
 * afterwards. A node of Kubernetes is a node of the mesh by its InternalIP: an overlay address proves the node, a name does not.
 */
import { formatIp, formatPrefix, type Ip, type Prefix, tryParseIp } from "../net/mod.ts";
import type { NodeLabels } from "../resources/mod.ts";
import { fieldOf, type Named } from "./metadata.ts";

/** KubeNode is as much of a Node as is kept. */
export interface KubeNode extends Named {
  readonly uid: string;
  readonly addresses: readonly Ip[];
  readonly ranges: readonly string[];
  readonly labels: NodeLabels;
}

/** parseKubeNode reads a Node; undefined for what is none. */
export function parseKubeNode(object: unknown): KubeNode | undefined {
  const [metadata, spec, status] = ["metadata", "spec", "status"].map((part) => fieldOf(object, part));
  const [name, uid] = [fieldOf(metadata, "name"), fieldOf(metadata, "uid")];
  if (typeof name !== "string" || typeof uid !== "string") return undefined;
  const addresses = listOf(fieldOf(status, "addresses")).flatMap((one) => {
    const text = fieldOf(one, "type") === "InternalIP" ? fieldOf(one, "address") : undefined;
    return (typeof text === "string" ? tryParseIp(text) : undefined) ?? [];
  });
  const ranges = listOf(fieldOf(spec, "podCIDRs")).filter((one) => typeof one === "string");
  return { name, uid, addresses, ranges, labels: labelsOf(fieldOf(metadata, "labels")) };
}

function labelsOf(value: unknown): NodeLabels {
  const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** MeshNode is as much of the register's node as matters here. */
export interface MeshNode {
  readonly name: string;
  readonly hub: boolean;
  readonly overlay4: Ip;
  readonly overlay6: Ip;
  readonly pods4?: Prefix;
  readonly pods6?: Prefix;
  readonly labels?: NodeLabels;
}

/** RangeStep is what is to be done for a node. */
export type RangeStep =
  | { readonly does: "set"; readonly ranges: readonly string[] }
  | { readonly does: "nothing" }
  /** Kubernetes has given it others: pods of this node get addresses that other nodes do not expect there. */
  | { readonly does: "tell"; readonly message: string };

/** meshNodesByAddress is the index that rangeStep looks into. */
export function meshNodesByAddress(nodes: readonly MeshNode[]): ReadonlyMap<string, MeshNode> {
  return new Map(
    nodes.flatMap((node) => [
      [formatIp(node.overlay4), node],
      [formatIp(node.overlay6), node],
    ]),
  );
}

/** meshNodeOf returns the node of the mesh that a node of Kubernetes is. */
export function meshNodeOf(
  { addresses }: Pick<KubeNode, "addresses">,
  nodes: ReadonlyMap<string, MeshNode>,
): MeshNode | undefined {
  return addresses.map((ip) => nodes.get(formatIp(ip))).find((one) => one !== undefined);
}

/** rangeStep compares a node's ranges on both sides; `first` is the family that comes first in the cluster. */
export function rangeStep(node: KubeNode, nodes: ReadonlyMap<string, MeshNode>, first: 4 | 6): RangeStep {
  const ours = meshNodeOf(node, nodes);
  if (ours === undefined) return { does: "nothing" };
  const both = [ours.pods4, ours.pods6].filter((prefix) => prefix !== undefined);
  const ranges = (first === 4 ? both : both.toReversed()).map(formatPrefix);
  if (ranges.length === 0) return { does: "nothing" };
  if (node.ranges.length === 0) return { does: "set", ranges };
  // An API server without dual stack keeps the first one only.
  if (node.ranges.every((range) => ranges.includes(range))) return { does: "nothing" };
  return {
    does: "tell",
    message: `spec.podCIDRs ${node.ranges.join(", ")} is not what Causeway gave node ${ours.name}: ${ranges.join(", ")}; set --allocate-node-cidrs=false at the controller manager, then delete this Node and let kubelet register it again`,
  };
}
