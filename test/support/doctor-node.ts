/**
 * The doctor as a program of its own, so that it lives in the namespace that it is started in: `doctor-node.ts STATE VERB [CHECK…]`.
 *
 * | verb | does | prints |
 * |---|---|---|
 * | look | all checks, or those named | them, as JSON |
 * | fix | their commands, then looks again | what was told, then as look |
 * | undo | takes our firewall rules away | what was told |
 * | ping | echoes to the address and for the MTU that follow | whether they came back |
 * | keep | runs the keeper until it is ended | `ready`, then a line for each time that rules were put back |
 */
import { pingPeer } from "../../src/doctor/way-facts.ts";
import { parseIp } from "../../src/net/mod.ts";
import { diagnose, FirewallKeeper, gather, treat, untreat } from "../../src/doctor/mod.ts";

const [state = "", verb, ...ids] = process.argv.slice(2);
const root = `${state}/root`;
const tell = (text: string) => console.error(text);

if (verb === "keep") {
  new FirewallKeeper({
    state,
    onPutBack: (rules) => console.log(`put back ${rules}`),
    onProblem: (error) => console.log(`problem ${(error as Error).message}`),
    pace: { legacyMs: 200, restMs: 200 },
  });
  console.log("ready");
} else if (verb === "ping") {
  const [address = "", mtu] = ids;
  console.log(JSON.stringify(await pingPeer({ name: "peer", overlay: [parseIp(address)] }, Number(mtu))));
} else if (verb === "undo") {
  await untreat({ state, tell });
} else {
  const look = async () => diagnose(await gather({ state, root, ids }), ids);
  if (verb === "fix") await treat((await look()).checks, { state, tell });
  console.log(JSON.stringify(await look()));
}
