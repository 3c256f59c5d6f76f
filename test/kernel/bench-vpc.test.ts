/** The bench of VPCs has parts of its own (calls inside a node, nodes made by hand): they work, with little of everything. */
import { describe, expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import type { Row } from "../../bench/measure.ts";
import { vpcPlan } from "../../bench/vpc.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";

test("the options of bench vpc are read, and what is wrong with them is said", () => {
  expect(vpcPlan([])).toMatchObject({ rounds: 5, pods: 100, domains: 500, entries: 10_000, urgent: false });
  expect(vpcPlan(["--quick", "--urgent", "--domains", "7", "--parts", "add,traffic"])).toMatchObject({
    rounds: 1,
    domains: 7,
    urgent: true,
    parts: ["add", "traffic"],
  });
  expect(() => vpcPlan(["--entries", "0"])).toThrow('"0" is not a whole number of at least 1');
  expect(() => vpcPlan(["--parts", "adds"])).toThrow('There is no "adds"; there are: add, domains');
});

describe.skipIf(skip !== undefined)(`bench vpc${skip === undefined ? "" : ` (${skip})`}`, () => {
  test("all rows come out", async () => {
    const words = "vpc --quick --json --pods 1 --domains 2 --entries 20 --seconds 1".split(" ");
    const child = Bun.spawn(
      [process.execPath, fileURLToPath(new URL("../../bench/bench.ts", import.meta.url)), ...words],
      { stdout: "pipe", stderr: "pipe", env: { ...process.env, CAUSEWAY_EXECUTABLE: executable } },
    );
    const [text, said] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    expect([await child.exited, said]).toEqual([0, expect.any(String)]);
    const { rows } = JSON.parse(text) as { rows: Row[] };
    const ours = new Map(rows.map((row) => [row.case, row.ours]));
    for (const name of [
      "add-existing",
      "add-new",
      "reach",
      "reach-new",
      "domains-2",
      "entries-20",
      "pod-to-pod",
    ])
      expect([name, (ours.get(name) ?? 0) > 0]).toEqual([name, true]);
  }, 280_000);
});
