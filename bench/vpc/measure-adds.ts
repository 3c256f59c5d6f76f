/**
 * What it takes to attach a pod, and until a pod on another node gets an answer from it: in a VPC that is on the node already, and as the first one
 * of its VPC there; beside the same in the default network of the same node, in turn.
 */
import type { Lab } from "../../src/lab/mod.ts";
import { type Row, row } from "../measure.ts";
import { firstAnswer, type Look } from "./first-answer.ts";
import { type Network, NodeCaller } from "./node-caller.ts";
import type { Say, VpcPlan } from "./plan.ts";
import { applyTenants } from "./tenants.ts";

/** What the kernel still does after a DEL must not hold the next call up. */
const SETTLE_MS = 60;

/** A network to which pods of node a are attached, and a pod of node b that looks for them. */
interface Side {
  readonly network: Network;
  readonly watcher: string;
  readonly ms: Record<What, number[]>;
}

/** What is measured: ADD alone, or with it how long it takes until the other node's pod gets an answer. */
type What = "add" | Look;

function side(name: string, network: Network): Side {
  return { network, watcher: `watch-${name}`, ms: { add: [], ping: [], fresh: [] } };
}

interface Turn {
  readonly side: Side;
  readonly pod: string;
  readonly what: What;
  readonly counts: boolean;
}

/** One pod more. */
async function attach(lab: Lab, caller: NodeCaller, { side: one, pod, what, counts }: Turn): Promise<void> {
  using netns = lab.netns(one.watcher);
  const beginMs = performance.now();
  const { ms, address } = await caller.add(pod, one.network);
  if (what !== "add") await firstAnswer(netns, address, what);
  if (counts) one.ms[what].push(what === "add" ? ms : performance.now() - beginMs);
}

interface Plan {
  readonly sides: readonly Side[];
  readonly what: What;
  readonly name: string;
  readonly pods: number;
  readonly warmUp: number;
}

/** Ours and theirs in turn; each pod is gone before the next. */
async function compareSides(
  lab: Lab,
  caller: NodeCaller,
  { sides, what, name, pods, warmUp }: Plan,
): Promise<void> {
  for (let run = -warmUp; run < pods; run++)
    for (const one of run % 2 === 0 ? sides : [...sides].reverse()) {
      const pod = `${name}${run + warmUp}-${one.watcher}`;
      await attach(lab, caller, { side: one, pod, what, counts: run >= 0 });
      await caller.delete(pod, one.network);
      await Bun.sleep(SETTLE_MS);
    }
}

/** Rows, and how each is measured. */
const cases = [
  ["add-existing", "existing", "add"],
  ["reach", "existing", "ping"],
  ["add-new", "new", "add"],
  ["reach-new", "new", "ping"],
  ["reach-new-fresh", "new", "fresh"],
] as const;

/** measureAdds returns the rows of ADD and reach. */
export async function measureAdds(lab: Lab, { pods, warmUp }: VpcPlan, say: Say): Promise<Row[]> {
  await applyTenants(lab, ["existing", "new"]);
  await lab.addPod("b", "watch-default");
  for (const name of ["existing", "new"])
    await lab.addPod("b", `watch-${name}`, [
      {
        ifname: "net1",
        config: { cniVersion: "1.0.0", name, type: "causeway", subnet: name },
      },
    ]);
  using caller = new NodeCaller(lab, "a");
  await caller.add("stays", { subnet: "existing" });
  const rows: Row[] = [];
  for (const [name, subnet, what] of cases) {
    const [ours, theirs] = [side(subnet, { subnet }), side("default", "default")];
    await compareSides(lab, caller, { sides: [ours, theirs], what, name, pods, warmUp });
    say(`${name}: ${pods} pods`);
    rows.push(row({ case: name, unit: "ms", peer: "the default network" }, ours.ms[what], theirs.ms[what]));
  }
  await caller.delete("stays", { subnet: "existing" });
  return rows;
}
