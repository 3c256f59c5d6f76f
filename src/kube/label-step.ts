/** Labels of Nodes that selections of the register look at: told to the register, so that nodes and admission know them. */
import { type NodeLabels, sameLabels, withLabels } from "../resources/mod.ts";

/** labelStep returns what of a node's labels in the register is to change; undefined: nothing. Labels that nobody looks at stay as they are. */
export function labelStep(
  labels: NodeLabels,
  { before = {}, keys }: { readonly before?: NodeLabels | undefined; readonly keys: ReadonlySet<string> },
): Record<string, string | null> | undefined {
  const change = Object.fromEntries([...keys].map((key) => [key, labels[key] ?? null]));
  return sameLabels(before, withLabels(before, change)) ? undefined : change;
}
