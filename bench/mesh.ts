/**
 * bench mesh: how soon nodes are in the mesh and come back after what goes wrong, what a hub of thousands of nodes holds and does, and what one node of
 * them costs where tunnels come with traffic.
 */
import { fileURLToPath } from "node:url";
import type { Bench, Row } from "./measure.ts";
import { type MeshPlan, meshParts } from "./mesh/plan.ts";
import { chosen, positive, readOptions } from "./options.ts";
import { privately } from "./tunnel/private.ts";

/** meshPlan reads the words after the bench's name. */
export function meshPlan(words: readonly string[]): MeshPlan {
  const options = readOptions(words, {
    values: ["rounds", "nodes", "talking", "seconds", "parts"],
    flags: ["quick", "urgent"],
  });
  const quick = options.quick ?? false;
  return {
    rounds: positive(options.rounds ?? (quick ? "1" : "5")),
    nodes: positive(options.nodes ?? (quick ? "500" : "5000")),
    talking: positive(options.talking ?? "30"),
    seconds: positive(options.seconds ?? (quick ? "10" : "60")),
    calmSeconds: quick ? 8 : 20,
    urgent: options.urgent ?? false,
    parts: options.parts === undefined ? meshParts : chosen(options.parts, meshParts),
    executable:
      process.env.CAUSEWAY_EXECUTABLE ?? fileURLToPath(new URL("../dist/causeway", import.meta.url)),
  };
}

export const bench: Bench = {
  about: "the mesh: joining, finding paths, recovery, a hub with 5,000 nodes, a node among them",
  options: `[--quick] [--urgent] [--rounds N] [--nodes N] [--talking N] [--seconds N] [--parts ${meshParts.join(",")}]`,
  async run(words) {
    const program = fileURLToPath(new URL("./mesh/measure-mesh.ts", import.meta.url));
    return JSON.parse(await privately([program, JSON.stringify(meshPlan(words))])) as Row[];
  },
};
