/** Does what checks propose: their commands, one after the other, each told before it runs. */
import type { Check } from "./check.ts";
import { isFirewall } from "./diagnose.ts";
import { removals } from "./firewall.ts";
import { readFirewall } from "./firewall-reader.ts";
import { isKept, setKept } from "./gather.ts";
import { runAll } from "./run-all.ts";

/** TreatOptions say where the agent is told, and who hears of each step. */
export interface TreatOptions {
  /** Folder of the agent's state. */
  readonly state: string;
  readonly tell: (text: string) => void;
}

/** treat runs the commands of checks that are not well; false when one failed, and the rest of that check is left. */
export async function treat(checks: readonly Check[], { state, tell }: TreatOptions): Promise<boolean> {
  let done = true;
  for (const check of checks) {
    if (check.ok || check.commands === undefined) continue;
    const failed = await runAll(check.commands, tell);
    if (failed !== undefined) {
      tell(`${check.id}: ${failed}`);
      done = false;
    } else if (isFirewall(check) && !isKept(state)) {
      setKept(state, true);
      tell("the agent puts these rules back after a reload; causeway doctor --undo ends that");
    }
  }
  return done;
}

/** untreat removes the rules with our mark, and no other; the agent stops putting them back. */
export async function untreat({ state, tell }: TreatOptions): Promise<boolean> {
  setKept(state, false);
  const { firewall } = await readFirewall();
  const commands = removals(firewall);
  if (commands.length === 0) tell("nothing to do: no rules of ours are there");
  const failed = await runAll(commands, tell);
  if (failed !== undefined) tell(failed);
  return failed === undefined;
}
