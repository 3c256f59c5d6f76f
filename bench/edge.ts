/** bench edge: a node's edge in hundreds of L3 domains of a fabric: making them, one more, and how soon a route of the fabric forwards. */
import { fileURLToPath } from "node:url";
import type { EdgePlan } from "./edge/plan.ts";
import type { Bench, Row } from "./measure.ts";
import { positive, readOptions } from "./options.ts";
import { privately } from "./tunnel/private.ts";
import { GUEST_EXECUTABLE, guestResult } from "../tools/vm.ts";

/** An emulated processor is slow. */
const GUEST_MS = 4 * 3_600_000;

function edgePlan(words: readonly string[]): EdgePlan {
  const {
    quick = false,
    urgent = false,
    "beside-frr": frr = false,
    ...options
  } = readOptions(words, {
    values: ["domains", "tries"],
    flags: ["quick", "urgent", "beside-frr"],
  });
  return {
    domains: (options.domains ?? (quick ? "1,20" : "1,50,150,500")).split(",").map(positive),
    tries: positive(options.tries ?? (quick ? "5" : "50")),
    urgent,
    frr,
    executable: frr
      ? GUEST_EXECUTABLE
      : (process.env.CAUSEWAY_EXECUTABLE ?? fileURLToPath(new URL("../dist/causeway", import.meta.url))),
  };
}

export const bench: Bench = {
  about: "a node's edge: 1 to 500 L3 domains from nothing, one more, a fabric's route until it forwards",
  options:
    "[--quick] [--urgent] [--domains 1,50,150,500] [--tries N] [--beside-frr: both in a virtual machine, which has VRFs]",
  async run(words) {
    const plan = edgePlan(words);
    const text = JSON.stringify(plan);
    if (plan.frr)
      return JSON.parse(
        await guestResult(["bun", "bench/edge/measure-edge.ts", text], { timeoutMs: GUEST_MS }),
      ) as Row[];
    const program = fileURLToPath(new URL("./edge/measure-edge.ts", import.meta.url));
    return JSON.parse(await privately([program, text])) as Row[];
  },
};
