/** The inside of bench mesh. It runs in namespaces of its own, with which everything ends. */
import { preferSession } from "../tunnel/usage.ts";
import type { Row } from "../measure.ts";
import { measureLarge } from "./measure-large.ts";
import { measureRecovery } from "./measure-recovery.ts";
import type { MeshPlan } from "./plan.ts";

const started = performance.now();

function say(text: string): void {
  process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0)} s: ${text}\n`);
}

async function measureMesh(plan: MeshPlan): Promise<Row[]> {
  const { parts, urgent } = plan;
  if (urgent) preferSession(process.pid);
  const rows: Row[] = [];
  const has = (...names: readonly string[]) => names.some((name) => parts.includes(name));
  if (has("join", "start", "recovery")) rows.push(...(await measureRecovery(plan, say)));
  if (has("hub", "node")) rows.push(...(await measureLarge(plan, say)));
  return rows;
}

console.log(JSON.stringify(await measureMesh(JSON.parse(process.argv[2] as string) as MeshPlan)));
// What was started ends with this process's namespaces.
process.exit(0);
