/** `causeway doctor` beside real agents: well, then behind firewalls that refuse; mended by --fix; put back by the agent after a reload; gone by --undo. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import type { Check } from "../../src/doctor/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { lacksTool } from "../support/scratch.ts";

const skip = labLacks ?? lacksTool("iptables-nft") ?? lacksTool("ping");
const root = `/run/causeway-test/${process.pid}-doctor`;
/** Guards against hanging only. */
const DEADLINE_MS = 180_000;

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: doctor }
spec:
  networks:
    - { name: wire, prefix4: 192.0.2.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: one, networks: [wire] }
    - { name: spare, role: none, networks: [wire] }
`;

const REFUSE = `iptables-nft -F; iptables-nft -P FORWARD DROP; iptables-nft -A INPUT -j REJECT --reject-with icmp-host-prohibited
ip6tables-nft -F; ip6tables-nft -P FORWARD DROP; ip6tables-nft -A INPUT -j REJECT`;

describe.skipIf(skip !== undefined)(`causeway doctor${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("doctor", { root });
    lab = await Lab.up(manifest, { root, executable });
    await lab.settled();
  }, DEADLINE_MS);
  afterAll(async () => {
    await Lab.remove("doctor", { root });
    rmSync(root, { recursive: true, force: true });
  }, DEADLINE_MS);

  async function doctor(node: string, ...args: readonly string[]) {
    const { status, stdout, stderr } = await lab.causeway(node, ["doctor", "--json", ...args]);
    const { checks } = JSON.parse(stdout) as { readonly checks: readonly Check[] };
    return { status, stderr, checks, wrong: checks.filter(({ ok }) => !ok).map(({ id }) => id) };
  }

  const shell = async (node: string, text: string) => (await lab.exec(node, ["sh", "-ec", text])).stdout;

  test(
    "nodes that are well have nothing wrong",
    async () => {
      for (const node of ["hub", "one"]) {
        const { status, wrong, checks } = await doctor(node);
        expect([node, wrong, status]).toEqual([node, [], 0]);
        expect(Object.keys(checks[0] as Check)).toEqual(["id", "ok", "found", "why"]);
        for (const id of ["agent", "peers", "routes", "mtu-path", "key", "firewall-input"])
          expect([id, checks.find((check) => check.id === id)?.ok]).toEqual([id, true]);
      }
    },
    DEADLINE_MS,
  );

  test(
    "a node without an agent is told so, and the rest is looked at",
    async () => {
      const { status, wrong, checks } = await doctor("spare");
      expect(status).toBe(1);
      expect(wrong).toContain("agent");
      expect(checks.find(({ id }) => id === "agent")?.fix).toContain("systemctl");
      const { status: refused, stderr } = await lab.causeway("spare", ["doctor", "hart"]);
      expect([refused, stderr]).toEqual([2, expect.stringContaining('there is no check "hart"')]);
    },
    DEADLINE_MS,
  );

  test(
    "a black hole for full packets between two nodes is found, and that it is gone",
    async () => {
      // Of what comes out of the tunnel: how agents measure paths below it says nothing of that.
      const hole = `add table inet hole
add chain inet hole drops { type filter hook prerouting priority -300; }
add rule inet hole drops iifname "cw0" meta length > 1300 drop`;
      await shell("hub", `nft -f - <<'END'\n${hole}\nEND`);
      const { status, checks } = await doctor("one", "mtu-path");
      expect([status, checks.map(({ id, ok }) => [id, ok])]).toEqual([1, [["mtu-path", false]]]);
      expect(checks[0]).toMatchObject({
        found: expect.stringContaining("hub"),
        fix: expect.stringContaining("fragmentation needed"),
      });
      await shell("hub", "nft delete table inet hole");
      expect((await doctor("one", "mtu-path")).wrong).toEqual([]);
    },
    DEADLINE_MS,
  );

  test(
    "firewalls of a hub and of a node: newcomers, nodes and pods are let through, and stay so",
    async () => {
      const ids = ["firewall-input", "firewall-forward", "firewall-kept"];
      for (const node of ["hub", "one"]) {
        await shell(node, REFUSE);
        const before = await doctor(node, ...ids);
        expect([node, before.wrong, before.status]).toEqual([
          node,
          ["firewall-input", "firewall-forward"],
          1,
        ]);
        const done = await doctor(node, ...ids, "--fix");
        expect([node, done.wrong, done.status]).toEqual([node, [], 0]);
        expect(done.stderr).toContain("iptables-nft -w -t filter -I INPUT 1 -i cw0");
        expect((await doctor(node, ...ids, "--fix")).stderr).toContain(
          "nothing that could be done by itself",
        );
      }
      const rules = await shell("hub", "ip6tables-nft-save");
      for (const about of ["newcomers ask the hub", "through this hub", "the tunnel", "nodes of the mesh"])
        expect(rules).toContain(`--comment "causeway: ${about}"`);
      // The agent hears of the reload.
      await shell("one", REFUSE);
      await until(
        async () =>
          (await shell("one", "ip6tables-nft-save")).includes("causeway: answers to pods")
            ? undefined
            : "not yet",
        { what: "the rules to be back" },
      );
      expect((await doctor("one", ...ids)).wrong).toEqual([]);
      expect((await lab.causeway("one", ["doctor", "--undo"])).status).toBe(0);
      expect(await shell("one", "iptables-nft-save; ip6tables-nft-save")).not.toContain("causeway: ");
      expect((await doctor("one", ...ids)).wrong).toEqual(["firewall-input", "firewall-forward"]);
      // What was put in ends with the membership.
      await doctor("one", ...ids, "--fix");
      expect(await shell("one", "iptables-nft-save")).toContain("causeway: ");
      expect((await lab.causeway("one", ["leave"])).status).toBe(0);
      expect(await shell("one", "iptables-nft-save; ip6tables-nft-save")).not.toContain("causeway: ");
    },
    DEADLINE_MS,
  );
});
