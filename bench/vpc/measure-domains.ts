/** One node in hundreds of VPCs, all with the same addresses and one pod each: what each costs, and whether the last cost more than the first. */
import { readFileSync } from "node:fs";
import type { Lab } from "../../src/lab/mod.ts";
import { processOf } from "../mesh/large-mesh.ts";
import { alone, type Row, row } from "../measure.ts";
import { cpuSeconds, memoryUse } from "../tunnel/usage.ts";
import { NodeCaller } from "./node-caller.ts";
import type { Say, VpcPlan } from "./plan.ts";
import { applyTenants } from "./tenants.ts";

/** After so long the agent has nothing left to do. */
const CALM_MS = 3_000;
/** Part of all VPCs that is compared at the beginning and at the end. */
const SHARE = 0.1;

/** What the node holds, in MB, and has used, in seconds. */
interface Held {
  readonly agentMb: number;
  readonly kernelMb: number;
  readonly cpuSeconds: number;
}

/** The kernel's is that of the whole machine, so also of whatever else runs on it. */
function held(agent: number): Held {
  const text = readFileSync("/proc/meminfo", "latin1");
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1]);
  return {
    agentMb: memoryUse(agent).written,
    kernelMb: ((kilobytes("Slab") + kilobytes("Percpu")) * 1024) / 1e6,
    cpuSeconds: cpuSeconds([agent]),
  };
}

/** measureDomains attaches a pod to each VPC, looks at rest, and detaches them. */
export async function measureDomains(
  lab: Lab,
  { domains: count, seconds, warmUp }: VpcPlan,
  say: Say,
): Promise<Row[]> {
  const names = Array.from({ length: count }, (_, i) => `tenant-${i}`);
  await applyTenants(lab, names);
  using caller = new NodeCaller(lab, "a");
  for (let i = 0; i < warmUp; i++) {
    await caller.add(`warm-${i}`, "default");
    await caller.delete(`warm-${i}`, "default");
  }
  const agent = processOf(lab, "a", "agent");
  await Bun.sleep(CALM_MS);
  const before = held(agent);
  say(`${count} VPCs are known`);
  const addMs: number[] = [];
  for (const name of names) addMs.push((await caller.add(name, { subnet: name })).ms);
  await Bun.sleep(CALM_MS);
  const full = held(agent);
  say(`${count} VPCs are on the node`);
  await Bun.sleep(seconds * 1000);
  const restSeconds = cpuSeconds([agent]) - full.cpuSeconds;
  const problems = (
    await lab.causewayJson<{ readonly problems: readonly string[] }[]>("a", ["vpc", "list"])
  ).flatMap((vpc) => vpc.problems);
  if (problems.length > 0) throw new Error(`${problems.length} problems: ${problems[0]}`);
  const delMs: number[] = [];
  for (const name of names) delMs.push((await caller.delete(name, { subnet: name })).ms);
  say(`${count} VPCs are gone from the node`);

  const some = Math.max(1, Math.floor(count * SHARE));
  const name = `domains-${count}`;
  const each = (total: number) => [total / count];
  return [
    row(
      { case: name, unit: "ms for the last tenth", peer: "the first tenth" },
      addMs.slice(-some),
      addMs.slice(0, some),
    ),
    alone({ case: `${name}-time`, unit: "s for all", why: "ADDs one by one" }, [
      addMs.reduce((sum, ms) => sum + ms, 0) / 1000,
    ]),
    alone({ case: `${name}-del`, unit: "ms", why: "DEL of the last pod" }, delMs),
    alone(
      { case: `${name}-cpu`, unit: "ms of the agent for each", why: "ADD with pod, VPC, BGP" },
      each((full.cpuSeconds - before.cpuSeconds) * 1000),
    ),
    alone(
      { case: `${name}-memory`, unit: "KB of the agent for each", why: "written by it alone" },
      each((full.agentMb - before.agentMb) * 1000),
    ),
    row(
      { case: `${name}-agent`, unit: "MB written", peer: "the same agent before" },
      [full.agentMb],
      [before.agentMb],
    ),
    alone(
      { case: `${name}-kernel`, unit: "KB for each", why: "Slab and Percpu of the machine, with the pod's" },
      each((full.kernelMb - before.kernelMb) * 1000),
    ),
    alone({ case: `${name}-rest`, unit: "% of a core", why: "the agent when nothing happens" }, [
      (restSeconds / seconds) * 100,
    ]),
  ];
}
