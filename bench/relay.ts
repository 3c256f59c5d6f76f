/** bench relay: what a hub relays of other nodes' WireGuard datagrams, beside plain forwarding of the same datagrams by the kernel. */
import { fileURLToPath } from "node:url";
import type { Bench, Row } from "./measure.ts";
import { positive, readOptions } from "./options.ts";
import type { Plan } from "./relay/measure-relay.ts";
import { privately } from "./tunnel/private.ts";

export const bench: Bench = {
  about: "a hub's relay beside plain forwarding: throughput, packets per second",
  options: "[--quick] [--urgent] [--rounds N] [--seconds N]",
  async run(words) {
    const options = readOptions(words, { values: ["rounds", "seconds"], flags: ["quick", "urgent"] });
    const plan: Plan = {
      rounds: positive(options.rounds ?? (options.quick ? "1" : "4")),
      seconds: positive(options.seconds ?? (options.quick ? "1" : "2")),
      urgent: options.urgent ?? false,
      executable:
        process.env.CAUSEWAY_EXECUTABLE ?? fileURLToPath(new URL("../dist/causeway", import.meta.url)),
    };
    const program = fileURLToPath(new URL("./relay/measure-relay.ts", import.meta.url));
    return JSON.parse(await privately([program, JSON.stringify(plan)])) as Row[];
  },
};
