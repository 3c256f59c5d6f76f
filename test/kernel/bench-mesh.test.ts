/** The bench of the mesh has many parts of its own (a crowd of simulated nodes, a hub's register that is written beforehand): they work, with few nodes. */
import { describe, expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { meshPlan } from "../../bench/mesh.ts";
import type { Row } from "../../bench/measure.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";

test("the options of bench mesh are read, and what is wrong with them is said", () => {
  expect(meshPlan(["--quick", "--nodes", "7", "--parts", "hub,node"])).toMatchObject({
    rounds: 1,
    nodes: 7,
    urgent: false,
    parts: ["hub", "node"],
  });
  expect(meshPlan([])).toMatchObject({ rounds: 5, nodes: 5000, talking: 30, seconds: 60 });
  expect(() => meshPlan(["--nodes", "0"])).toThrow('"0" is not a whole number of at least 1');
  expect(() => meshPlan(["--parts", "hubs"])).toThrow('There is no "hubs"; there are: join, start');
});

describe.skipIf(skip !== undefined)(`bench mesh${skip === undefined ? "" : ` (${skip})`}`, () => {
  test("a crowd follows a real hub, hears what is new, and answers a real node that talks to it", async () => {
    const words = "mesh --quick --json --parts hub,node --nodes 12 --talking 2 --seconds 2".split(" ");
    const child = Bun.spawn(
      [process.execPath, fileURLToPath(new URL("../../bench/bench.ts", import.meta.url)), ...words],
      {
        stdout: "pipe",
        stderr: "pipe",
        env: { ...process.env, CAUSEWAY_EXECUTABLE: executable },
      },
    );
    const [text, said] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    expect([await child.exited, said]).toEqual([0, expect.any(String)]);
    const { rows } = JSON.parse(text) as { rows: Row[] };
    const ours = new Map(rows.map((row) => [row.case, row.ours]));
    for (const name of ["hub-bytes-per-node", "hub-facts-to-all", "hub-join-to-all", "hub-removal-to-all"])
      expect([name, ours.get(name)]).toEqual([name, expect.any(Number)]);
    // Who is not talked to is not probed; who is talked to is reached directly.
    expect(ours.get("node-on-demand-0-peers-probed")).toBe(0);
    expect(ours.get("node-on-demand-2-direct")).toBe(2);
    expect(ours.get("node-full-mesh-2-peers-probed")).toBeGreaterThan(2);
  }, 280_000);
});
