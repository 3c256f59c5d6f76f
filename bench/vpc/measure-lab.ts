/** VPCs in a laboratory of real agents: a hub that reflects and two nodes, joined by the encrypted overlay. */
import { Lab } from "../../src/lab/mod.ts";
import { readText } from "../../src/sys/mod.ts";
import { preferNode } from "../mesh/large-mesh.ts";
import type { Row } from "../measure.ts";
import { measureAdds } from "./measure-adds.ts";
import { measureDomains } from "./measure-domains.ts";
import type { Say, VpcPlan } from "./plan.ts";

const LAST_LINES = 20;

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: vpc }
spec:
  networks:
    - { name: wire, prefix4: 203.0.113.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: a, networks: [wire], endpoint: auto }
    - { name: b, networks: [wire], endpoint: auto }
`;

/** What an agent said last: with the laboratory it is gone. */
function lastWords(lab: Lab, node: string): string {
  const lines = (readText(lab.place.agentLog(node)) ?? "").trimEnd().split("\n");
  return lines.slice(-LAST_LINES).join("\n");
}

/** measureLab brings the laboratory up and measures what is asked for. */
export async function measureLab(plan: VpcPlan, say: Say): Promise<Row[]> {
  const { executable, parts, urgent } = plan;
  const lab = await Lab.up(manifest, { executable });
  try {
    if (urgent) for (const node of ["hub", "a", "b"]) await preferNode(lab, node);
    const rows: Row[] = [];
    if (parts.includes("add")) rows.push(...(await measureAdds(lab, plan, say)));
    if (parts.includes("domains")) rows.push(...(await measureDomains(lab, plan, say)));
    return rows;
  } catch (error) {
    for (const node of ["hub", "a", "b"]) say(`${node}: ${lastWords(lab, node)}`);
    throw error;
  } finally {
    await lab.down();
  }
}
