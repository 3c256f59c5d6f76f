import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import type { Results } from "../../src/agent/mod.ts";
import { Lab, pingMatrix, servicePorts, until } from "../../src/lab/mod.ts";
import { formatIp } from "../../src/net/mod.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";

const root = `/run/causeway-test/${process.pid}-relay`;

/** Guards against hanging only. */
const DEADLINE_MS = 180_000;

/** Two homes behind NATs that nothing opens, two behind such as can be opened from both sides at once. */
const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: relay }
spec:
  networks:
    - { name: internet, prefix4: 203.0.113.0/24 }
    - { name: home1, prefix4: 192.168.1.0/24 }
    - { name: home2, prefix4: 192.168.2.0/24 }
    - { name: home3, prefix4: 192.168.3.0/24 }
    - { name: home4, prefix4: 192.168.4.0/24 }
  routers:
    - { name: nat1, kind: symmetric, inside: home1, outside: internet }
    - { name: nat2, kind: symmetric, inside: home2, outside: internet }
    - { name: nat3, kind: restricted, inside: home3, outside: internet }
    - { name: nat4, kind: restricted, inside: home4, outside: internet }
  nodes:
    - { name: hub, role: hub, networks: [internet] }
    - { name: s1, networks: [home1], pods: 1 }
    - { name: s2, networks: [home2], pods: 1 }
    - { name: r1, networks: [home3], pods: 1 }
    - { name: r2, networks: [home4], pods: 1 }
`;

describe.skipIf(skip !== undefined)(`behind strict NATs${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("relay", { root });
    lab = await Lab.up(manifest, { root, executable });
  }, DEADLINE_MS);
  afterAll(async () => {
    await Lab.remove("relay", { root });
    rmSync(root, { recursive: true, force: true });
  }, DEADLINE_MS);

  const peer = async (node: string, name: string) =>
    (await lab.causewayJson<Results["peers"]>(node, ["peers", name])).peers[0];

  test(
    "NATs that keep one mapping open for each other; the strict ones go through the hub, and the reason is shown",
    async () => {
      for (const [from, to] of [
        ["r1", "r2"],
        ["r2", "r1"],
      ] as const)
        await until(
          async () =>
            ["direct", "punched"].includes((await peer(from, to))?.path ?? "")
              ? undefined
              : (await peer(from, to))?.reason,
          {
            what: `a direct path from ${from} to ${to}`,
            deadlineMs: DEADLINE_MS,
          },
        );
      // A round of tries has ended without success.
      for (const [from, to] of [
        ["s1", "s2"],
        ["s1", "r1"],
        ["r2", "s2"],
      ] as const)
        await until(
          async () => {
            const found = await peer(from, to);
            const tried = found?.candidates.every(({ state }) => state === "failed");
            return found?.path === "relay" && tried === true ? undefined : found?.reason;
          },
          { what: `${from} to have tried ${to}`, deadlineMs: DEADLINE_MS },
        );
    },
    DEADLINE_MS,
  );

  test(
    "every pod reaches every pod, punched and relayed, with one UDP port and no plain text on any wire",
    async () => {
      const marker = "causeway-relayed";
      const wires = await Promise.all(lab.topology.networks.map((network) => lab.capture(network.name)));
      const matrix = await pingMatrix(lab, { count: 2, marker });
      const reports = await Promise.all(wires.map((wire) => wire.stop(marker)));
      expect(matrix.filter((cell) => !cell.ok)).toEqual([]);
      const path = (from: string, to: string) =>
        new Set(matrix.filter((cell) => cell.from === from && cell.to === to).map((cell) => cell.path));
      expect(path("r1-p1", "r2-p1")).toEqual(new Set(["punched"]));
      expect(path("s1-p1", "s2-p1")).toEqual(new Set(["relay"]));
      expect(path("s2-p1", "r1-p1")).toEqual(new Set(["relay"]));
      expect(reports.some((report) => report.markerSeen)).toBe(false);
      const flows = reports.flatMap((report) => report.udpFlows);
      expect(flows.length).toBeGreaterThan(0);
      expect(servicePorts(lab, flows)).toEqual([51820]);
    },
    DEADLINE_MS,
  );

  test(
    "with the hub away the direct pair goes on; when it is back, so do the others",
    async () => {
      await lab.killAgent("hub");
      const ping = async (from: string, to: string) => {
        const { ip4 } = lab.pod(to);
        const target = ip4 === undefined ? "" : formatIp(ip4);
        return (await lab.exec(from, ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", target])).status;
      };
      expect(await ping("r1-p1", "r2-p1")).toBe(0);
      // The hub's tunnel goes on without its agent: so does what it relays.
      expect(await ping("s1-p1", "s2-p1")).toBe(0);
      await lab.reboot("hub");
      await until(async () => ((await ping("s1-p1", "s2-p1")) === 0 ? undefined : "no answer"), {
        what: "the relayed pair",
        deadlineMs: DEADLINE_MS,
      });
      expect(await ping("r1-p1", "r2-p1")).toBe(0);
    },
    DEADLINE_MS,
  );
});
