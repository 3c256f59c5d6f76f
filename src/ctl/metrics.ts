/** `causeway metrics`: this node's counts, for Prometheus. */
import { bgpMetrics, routersAt } from "./bgp.ts";
import { answersBgp, BGP_SOCKET } from "./bgp-client.ts";
import { ask } from "./client.ts";
import type { Command } from "./command.ts";
import { printText, progress } from "./output.ts";

/** metrics is the command. */
export const metrics: Command = {
  name: "metrics",
  about: "Print counts of this node, as Prometheus reads them",
  more: `For the textfile collector of node_exporter, or what else runs programs: tunnel,
peers, VPCs, the edge in fabrics, and BGP as causeway bgp metrics has it. Of a
gateway: causeway gateway metrics NAME.`,
  examples: ["causeway metrics > causeway.new && mv causeway.new causeway.prom"],
  async run() {
    const { text } = await ask({ op: "metrics" }, progress);
    printText(text + routersText());
    return 0;
  },
};

/** Routers end and begin with resources: there may be none, or none any more. */
function routersText(): string {
  try {
    return answersBgp(BGP_SOCKET) ? bgpMetrics(routersAt(BGP_SOCKET)) : "";
  } catch (error) {
    if (!answersBgp(BGP_SOCKET)) return "";
    throw error;
  }
}
