/** bench edge: a node's edge in hundreds of L3 domains of a fabric: making them, one more, and how soon a route of the fabric forwards. */
import { fileURLToPath } from "node:url";
import type { EdgePlan } from "./edge/plan.ts";
import type { Bench, Row } from "./measure.ts";
import { positive, readOptions } from "./options.ts";
import { privately } from "./tunnel/private.ts";

function edgePlan(words: readonly string[]): EdgePlan {
  const {
    quick = false,
    urgent = false,
    ...options
  } = readOptions(words, {
    values: ["domains", "tries"],
    flags: ["quick", "urgent"],
  });
  return {
    domains: (options.domains ?? (quick ? "1,20" : "1,50,150,500")).split(",").map(positive),
    tries: positive(options.tries ?? (quick ? "5" : "50")),
    urgent,
    executable:
      process.env.CAUSEWAY_EXECUTABLE ?? fileURLToPath(new URL("../dist/causeway", import.meta.url)),
  };
}

export const bench: Bench = {
  about: "a node's edge: 1 to 500 L3 domains from nothing, one more, a fabric's route until it forwards",
  options: "[--quick] [--urgent] [--domains 1,50,150,500] [--tries N]",
  async run(words) {
    const program = fileURLToPath(new URL("./edge/measure-edge.ts", import.meta.url));
    return JSON.parse(await privately([program, JSON.stringify(edgePlan(words))])) as Row[];
  },
};
