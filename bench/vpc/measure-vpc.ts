/** The inside of bench vpc. It runs in namespaces of its own, with which everything ends. */
import { preferSession } from "../tunnel/usage.ts";
import type { Row } from "../measure.ts";
import { measureEntries } from "./measure-entries.ts";
import { measureLab } from "./measure-lab.ts";
import { measureTraffic } from "./measure-traffic.ts";
import type { VpcPlan } from "./plan.ts";

const started = performance.now();

function say(text: string): void {
  process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0)} s: ${text}\n`);
}

async function measureVpc(plan: VpcPlan): Promise<Row[]> {
  const { parts, urgent } = plan;
  if (urgent) preferSession(process.pid);
  const rows: Row[] = [];
  if (parts.includes("add") || parts.includes("domains")) rows.push(...(await measureLab(plan, say)));
  if (parts.includes("entries")) rows.push(...measureEntries(plan, say));
  if (parts.includes("traffic")) rows.push(...(await measureTraffic(plan, say)));
  return rows;
}

console.log(JSON.stringify(await measureVpc(JSON.parse(process.argv[2] as string) as VpcPlan)));
// What was started ends with this process's namespaces.
process.exit(0);
