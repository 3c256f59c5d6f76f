/** The picture of a topology as text, for 80 columns. */
import type { Branch } from "./tree.ts";
import { treeOf } from "./tree.ts";
import type { Topology } from "./topology.ts";

/** graphText draws the topology as a tree of lines. */
export function graphText(topology: Topology): string {
  const lines = treeOf(topology).flatMap((root) => [...draw(root, "", "")]);
  const width = Math.max(0, ...lines.map(([head]) => head.length));
  return lines.map(([head, facts]) => `${head.padEnd(width)}  ${facts}`.trimEnd()).join("\n") + "\n";
}

function* draw(branch: Branch, first: string, rest: string): Generator<[head: string, facts: string]> {
  const name = branch.kind === "network" ? `═ ${branch.name}` : branch.name;
  yield [`${first}${name}`, branch.facts.join(", ")];
  for (const [index, child] of branch.branches.entries()) {
    const last = index === branch.branches.length - 1;
    yield* draw(child, `${rest}${last ? "└─ " : "├─ "}`, `${rest}${last ? "   " : "│  "}`);
  }
}
