/** The demo as people and machines run it, twice: its one JSON document, its exit status, and nothing left behind. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { LAB_ROOT, labNames } from "../../src/lab/mod.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const skip =
  process.getuid?.() !== 0
    ? "needs root"
    : !existsSync(`${repository}/dist/causeway`)
      ? "needs dist/causeway: npm run build"
      : !existsSync("/dev/net/tun")
        ? "needs /dev/net/tun"
        : // The demo would take it away; it may be somebody's.
          labNames().includes("demo") || existsSync(`${LAB_ROOT}/demo`)
          ? "a lab named demo is up on this machine"
          : undefined;

/** Guards against hanging only. */
const DEADLINE_MS = 240_000;

type Row = Record<string, unknown>;

/** All keys that the rows have, and those that are not in all of them. */
function keys(rows: unknown): string[] {
  expect(rows).toBeArray();
  const list = rows as Row[];
  const all = [...new Set(list.flatMap((row) => Object.keys(row)))];
  return all.map((key) => (list.every((row) => key in row) ? key : `${key}, at times`)).sort();
}

describe.skipIf(skip !== undefined)(`the demo${skip === undefined ? "" : ` (${skip})`}`, () => {
  for (const time of ["once", "once more"])
    test(
      `--json ends with the document, ${time}, and leaves nothing`,
      async () => {
        const child = Bun.spawn([process.execPath, "tools/demo.ts", "--json"], {
          cwd: repository,
          stdin: "ignore",
          stdout: "pipe",
          stderr: "pipe",
        });
        const [stdout, stderr, status] = await Promise.all([
          new Response(child.stdout).text(),
          new Response(child.stderr).text(),
          child.exited,
        ]);
        expect([status, status === 0 ? "" : stderr]).toEqual([0, ""]);
        const report = JSON.parse(stdout) as Row;
        expect(
          Object.keys(report)
            .filter((key) => key !== "throughput")
            .sort(),
        ).toEqual(["matrix", "nodes", "plaintextSeen", "pods", "seconds", "tenants", "udpPorts"]);
        expect(keys(report.nodes)).toEqual(
          ["name", "site", "nat", "overlay4", "overlay6", "podRange4", "podRange6", "tunnel"].sort(),
        );
        expect(keys(report.pods)).toEqual(["ip4", "ip6", "name", "node"]);
        expect(keys(report.matrix)).toEqual(["family", "from", "ok", "path", "rttMs", "to"]);
        const [nodes, pods, matrix] = [report.nodes, report.pods, report.matrix] as [Row[], Row[], Row[]];
        expect(nodes.map(({ name, nat }) => `${name} ${nat}`).sort()).toEqual([
          "a1 cone",
          "a2 cone",
          "b1 symmetric",
          "c1 none",
          "hub none",
        ]);
        // wireguard-go is nothing that the demo needs.
        expect(nodes.map(({ tunnel }) => tunnel)).toEqual(
          nodes.map(() => expect.stringMatching(/^(?:kernel \d|causeway \S+, ChaCha20-Poly1305 by )/)),
        );
        // Nothing is empty: an address that an agent did not tell would be.
        for (const row of [...nodes, ...pods]) expect(Object.values(row)).not.toContain("");
        expect(pods.length).toBe(2 * nodes.length);
        expect(matrix.filter(({ ok }) => ok !== true)).toEqual([]);
        const names = pods.map(({ name }) => name);
        const pairs = names.flatMap((from) =>
          names
            .filter((to) => to !== from)
            .flatMap((to) => [4, 6].map((family) => `${from} ${to} ${family}`)),
        );
        expect(matrix.map(({ from, to, family }) => `${from} ${to} ${family}`).sort()).toEqual(pairs.sort());
        expect(report.tenants).toMatchObject({
          inside: { answered: 18, of: 18 },
          across: { answered: 0, of: 3 },
        });
        expect(report).toMatchObject({ udpPorts: [51820], plaintextSeen: false });
        expect(report.seconds).toBeGreaterThan(0);
        expect(labNames()).not.toContain("demo");
        expect(existsSync(`${LAB_ROOT}/demo`)).toBe(false);
      },
      DEADLINE_MS,
    );
});
