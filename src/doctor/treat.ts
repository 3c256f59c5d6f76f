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
  // Two checks may propose the same zone; only what they end with is done again.
  const ran = new Set<string>();
  for (const check of checks) {
    if (check.ok || check.commands === undefined) continue;
    const commands = check.commands.filter(
      (words) => words.includes("--reload") || !ran.has(words.join(" ")),
    );
    const failed = await runAll(commands, tell);
    for (const words of commands) ran.add(words.join(" "));
    if (failed !== undefined) {
      tell(`${check.id}: ${failed}`);
      done = false;
    } else if (isFirewall(check) && !isKept(state) && commands.some(([tool]) => tool !== "firewall-cmd")) {
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
