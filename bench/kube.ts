/** bench kube: the controller of a cluster of thousands of nodes, and an agent's watch among tens of thousands of pods, at a real API server. */
import { fileURLToPath } from "node:url";
import { apiServerNeeds } from "../test/support/api-server.ts";
import type { KubePlan } from "./kube/plan.ts";
import type { Bench, Row } from "./measure.ts";
import { OptionError, positive, readOptions } from "./options.ts";
import { privately } from "./tunnel/private.ts";

function kubePlan(words: readonly string[]): KubePlan {
  const {
    quick = false,
    urgent = false,
    ...options
  } = readOptions(words, {
    values: ["nodes", "pods", "tries", "seconds"],
    flags: ["quick", "urgent"],
  });
  const { program, etcd, lacks } = apiServerNeeds();
  if (lacks !== undefined) throw new OptionError(`Cannot measure: ${lacks}`);
  const nodes = positive(options.nodes ?? (quick ? "200" : "5000"));
  const pods = positive(options.pods ?? (quick ? "2000" : "50000"));
  return {
    ...{ nodes, pods, urgent, program, etcd },
    ownPods: Math.min(110, pods),
    namespaces: Math.ceil(pods / 100),
    tries: positive(options.tries ?? (quick ? "5" : "50")),
    seconds: positive(options.seconds ?? (quick ? "10" : "60")),
  };
}

export const bench: Bench = {
  about:
    "a cluster of 5,000 nodes and 50,000 pods at a real API server: its controller, one agent's watch of its pods",
  options: "[--quick] [--urgent] [--nodes N] [--pods N] [--tries N] [--seconds N]",
  async run(words) {
    const program = fileURLToPath(new URL("./kube/measure-kube.ts", import.meta.url));
    return JSON.parse(await privately([program, JSON.stringify(kubePlan(words))])) as Row[];
  },
};
