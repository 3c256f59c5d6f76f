import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { formatInterfaceAddress, formatIp } from "../net/mod.ts";
import { formatProblem, parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { planEdge } from "./plan.ts";

const text = readFileSync(new URL("../../docs/edge.md", import.meta.url), "utf8");

test("the example in docs/edge.md is valid, and gives the addresses that are said there", () => {
  const { resources, problems } = parseManifest(/```yaml\n([\s\S]*?)```/.exec(text)?.[1] ?? "");
  expect(problems.map(formatProblem)).toEqual([]);
  const on = (index: number) => {
    const node = { name: "n", hub: false, labels: { rack: "a" }, index };
    const { edge } = planEdge(tenantsOf(resources as TenantResource[]), { node });
    const [router] = edge.routers;
    const leg = router?.domains[0]?.routing?.host;
    return [
      formatIp(router!.routerId),
      formatIp(router!.endpoints[0]!.address!),
      ...leg!.edge.map(formatInterfaceAddress),
      ...leg!.host.map(formatInterfaceAddress),
    ];
  };
  expect(on(0)).toEqual(["10.0.0.1", "100.65.0.0", "192.169.10.1/24", "192.169.10.2/24"]);
  expect(on(1)).toEqual(["10.0.0.2", "100.65.0.1", "192.169.10.1/24", "192.169.10.3/24"]);
});

test("every field of an Underlay is in docs/edge.md", () => {
  const said = parseManifest(
    "apiVersion: causeway.network/v1alpha1\nkind: Underlay\nmetadata: {name: a}\nspec: {nothing: 1}\n",
  ).problems.map(({ problem }) => problem);
  const fields = /the fields are (.*)$/.exec(said.find((one) => one.includes("the fields are")) ?? "")?.[1];
  expect(fields).toBeDefined();
  for (const field of (fields as string).split(", ")) expect(text).toContain(`\`${field}\``);
});
