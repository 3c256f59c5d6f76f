/**
 * bench vpc: pods in tenants' networks: attaching them, how soon other nodes reach them, a node in hundreds of VPCs, a VPC of thousands of addresses
 * elsewhere, and what flows between two pods.
 */
import { fileURLToPath } from "node:url";
import type { Bench, Row } from "./measure.ts";
import { chosen, positive, readOptions } from "./options.ts";
import { privately } from "./tunnel/private.ts";
import { type VpcPlan, vpcParts } from "./vpc/plan.ts";

/** vpcPlan reads the words after the bench's name. */
export function vpcPlan(words: readonly string[]): VpcPlan {
  const options = readOptions(words, {
    values: ["rounds", "pods", "domains", "entries", "seconds", "parts"],
    flags: ["quick", "urgent"],
  });
  const quick = options.quick ?? false;
  return {
    rounds: positive(options.rounds ?? (quick ? "1" : "5")),
    pods: positive(options.pods ?? (quick ? "10" : "100")),
    warmUp: quick ? 3 : 20,
    domains: positive(options.domains ?? (quick ? "50" : "500")),
    entries: positive(options.entries ?? "10000"),
    seconds: positive(options.seconds ?? (quick ? "1" : "5")),
    urgent: options.urgent ?? false,
    parts: options.parts === undefined ? vpcParts : chosen(options.parts, vpcParts),
    executable:
      process.env.CAUSEWAY_EXECUTABLE ?? fileURLToPath(new URL("../dist/causeway", import.meta.url)),
  };
}

export const bench: Bench = {
  about: "VPCs: ADD, how soon others reach a pod, 500 VPCs on a node, 10,000 addresses elsewhere, throughput",
  options: `[--quick] [--urgent] [--rounds N] [--pods N] [--domains N] [--entries N] [--seconds N] [--parts ${vpcParts.join(",")}]`,
  async run(words) {
    const program = fileURLToPath(new URL("./vpc/measure-vpc.ts", import.meta.url));
    return JSON.parse(await privately([program, JSON.stringify(vpcPlan(words))])) as Row[];
  },
};
