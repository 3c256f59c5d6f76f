/** What Prometheus is told of this node. */
import type { Agent } from "./agent.ts";
import type { Results } from "./api.ts";
import type { Handlers } from "./control.ts";
import type { Joined } from "./joined.ts";
import { Carried, metricsText } from "./metrics.ts";

/** What the tunnel of each membership has carried. */
const carried = new WeakMap<Joined, Carried>();

/** metrics answers with the text, from what commands show. */
export async function metrics(
  agent: Agent,
  { status, peers, "vpc-status": vpcStatus }: Pick<Handlers, "status" | "peers" | "vpc-status">,
): Promise<Results["metrics"]> {
  const { joined } = agent;
  const quietly = () => {};
  const sums = (joined && carried.get(joined)) ?? new Carried();
  if (joined !== undefined) carried.set(joined, sums.look(joined.peers()));
  return {
    text: metricsText({
      status: await status(agent, { op: "status" }, quietly),
      ...(await peers(agent, { op: "peers" }, quietly)),
      ...(await vpcStatus(agent, { op: "vpc-status" }, quietly)),
      carried: sums,
    }),
  };
}
