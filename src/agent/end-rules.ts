/** Accepts that `causeway doctor --fix` put into the node's firewall end with the membership: they name its networks. */
import { hasKept, untreat } from "../doctor/mod.ts";
import { info, warn } from "./log.ts";
import { STATE } from "./paths.ts";

/** endRules removes them where the agent was asked to keep them; what cannot be removed is told, since a node must be able to leave. */
export async function endRules(): Promise<void> {
  if (!hasKept(STATE)) return;
  try {
    await untreat({ state: STATE, tell: (text) => info(text) });
  } catch (error) {
    warn("the firewall's rules of ours stay: causeway doctor --undo", { error });
  }
}
