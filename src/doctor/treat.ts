/** Does what checks propose: their commands, one after the other, each told before it runs. */
import type { Check } from "./check.ts";
import { isFirewall } from "./diagnose.ts";
import { oursOf, removals } from "./firewall.ts";
import { readFirewall } from "./firewall-reader.ts";
import { readKept, writeKept } from "./gather.ts";
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
  let keeps = false;
  for (const check of checks) {
    if (check.ok) continue;
    if (check.keeps) keeps = true;
    if (check.commands === undefined) continue;
    const commands = check.commands.filter(
      (words) => words.includes("--reload") || !ran.has(words.join(" ")),
    );
    const failed = await runAll(commands, tell);
    for (const words of commands) ran.add(words.join(" "));
    if (failed !== undefined) {
      tell(`${check.id}: ${failed}`);
      done = false;
    }
    if (isFirewall(check) && commands.some(([tool]) => tool !== "firewall-cmd")) keeps = true;
  }
  if (keeps) await keep(state, tell);
  return done;
}

/** What is ours now shall be put back, beside what was before. */
async function keep(state: string, tell: (text: string) => void): Promise<void> {
  const before = readKept(state);
  const { firewall } = await readFirewall();
  const keys = new Set([...before, ...oursOf(firewall).map(({ key }) => key)]);
  if (keys.size === before.size) return;
  writeKept(state, keys);
  tell("the agent puts these rules back after a reload; causeway doctor --undo ends that");
}

/** untreat removes the rules with our mark, and no other; the agent stops putting them back. */
export async function untreat({ state, tell }: TreatOptions): Promise<boolean> {
  writeKept(state, []);
  const { firewall } = await readFirewall();
  const commands = removals(firewall);
  if (commands.length === 0) tell("nothing to do: no rules of ours are there");
  const failed = await runAll(commands, tell);
  if (failed !== undefined) tell(failed);
  return failed === undefined;
}
