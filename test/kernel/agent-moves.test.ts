/** A relayed pair: the address of one end changes, and the only hub is lost and comes back. What was lost is printed, and bounded. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { CountedFlow } from "../support/counted-flow.ts";
import { executable } from "../support/lab-needs.ts";
import { ownLacks } from "../support/own-needs.ts";
import { SmallMesh } from "../support/small-mesh.ts";
import { tool } from "../support/tunnel-pair.ts";

setDefaultTimeout(300_000);
const PER_SECOND = 100;
const OURS = ["--tunnel", "user"];
/** No way from ann to bob but by the hub. */
const APART = "table ip apart { chain o { type filter hook output priority 0; ip daddr 10.77.0.3 drop; }; }";

describe.skipIf(ownLacks !== undefined)(
  `a relayed pair${ownLacks === undefined ? "" : ` (${ownLacks})`}`,
  () => {
    let mesh: SmallMesh;
    let port = 7_100;
    const measured: string[] = [];

    beforeAll(async () => {
      mesh = await SmallMesh.open(
        [executable],
        ["hub", "ann", "bob"].map((name) => ({ name, agentOptions: OURS })),
      );
      await Promise.all(["hub", "ann", "bob"].map((name) => mesh.start(name)));
      const given = { endpoints: [`${mesh.node("hub").address}:51820`], exposedPorts: [] };
      await mesh.ask("hub", { op: "init", name: "hub", ...given });
      const { token } = await mesh.ask("hub", { op: "token-create", uses: 2, expiresMs: 3_600_000 });
      for (const name of ["ann", "bob"]) await mesh.ask(name, { op: "join", name, token, endpoints: [] });
      await mesh.wait("ann and bob to know each other", async () =>
        (await mesh.peer("ann", "bob")) && (await mesh.peer("bob", "ann")) ? undefined : "not yet",
      );
      tool(mesh.node("ann").netns, "nft -f -", APART);
      await mesh.wait("the relay", async () => {
        const paths = [await mesh.peer("ann", "bob"), await mesh.peer("bob", "ann")].map((one) => one?.path);
        return paths.every((path) => path === "relay") ? undefined : paths.join();
      });
      await Bun.sleep(3_000);
    });
    afterAll(async () => {
      if (measured.length > 0) console.log(measured.join("\n"));
      await mesh?.[Symbol.asyncDispose]();
    });

    /** Flows in both directions while something happens; returns how many datagrams each lost. */
    async function lost(event: string, happen: () => Promise<void>): Promise<number[]> {
      const nodes = (await mesh.ask("ann", { op: "node-list" })).nodes;
      const addressOf = (name: string) => nodes.find((node) => node.name === name)?.overlay4 as string;
      const flows = (["ann", "bob"] as const).map((from) => {
        const to = from === "ann" ? "bob" : "ann";
        const [source, netns] = [mesh.node(from).netns, mesh.node(to).netns];
        return new CountedFlow(source, {
          netns,
          address: addressOf(to),
          port: port++,
          perSecond: PER_SECOND,
        });
      });
      const more = async (what: string) => {
        const before = flows.map(({ received }) => received);
        await mesh.wait(what, () =>
          flows.every(({ received }, i) => received > (before[i] as number) + 2 * PER_SECOND)
            ? undefined
            : flows.map(({ received }) => received).join(),
        );
      };
      await more("both to flow");
      await happen();
      await more("both to flow again");
      const reports = await Promise.all(flows.map((flow) => flow.stop()));
      const counts = reports.map((report) => report.lost);
      measured.push(
        `${event}: ${counts.map((count) => `${(1000 * count) / PER_SECOND} ms`).join(" and ")} lost`,
      );
      return counts;
    }

    test("goes on at once when the address of one end changes", async () => {
      const { netns } = mesh.node("ann");
      const counts = await lost("an address changes", async () => {
        tool(netns, "ip addr del 10.77.0.2/24 dev eth0");
        tool(netns, "ip addr add 10.77.0.22/24 dev eth0");
        // Until the agent has found out in every way that it has.
        await Bun.sleep(12_000);
      });
      for (const count of counts) expect(count).toBeLessThan(2 * PER_SECOND);
    });

    test("goes on when the hub's data plane is killed, which forgets all that it relays", async () => {
      const command = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[1];
      const dataplanes = () => mesh.processes("hub").filter((pid) => command(pid) === "dataplane");
      expect(dataplanes().length).toBe(1);
      const counts = await lost("the hub's data plane is killed", async () => {
        for (const pid of dataplanes()) process.kill(pid, "SIGKILL");
        await Bun.sleep(3_000);
      });
      for (const count of counts) expect((1000 * count) / PER_SECOND).toBeLessThan(8_000);
    });

    test("goes on when the only hub comes back", async () => {
      let downMs = 0;
      const counts = await lost("the only hub reboots", async () => {
        const sinceMs = Date.now();
        await mesh.kill("hub");
        await mesh.revive("hub");
        downMs = Date.now() - sinceMs;
      });
      measured.push(`its agent answered after ${downMs} ms`);
      const mostMs = downMs + 8_000;
      for (const count of counts) expect((1000 * count) / PER_SECOND).toBeLessThan(mostMs);
    });
  },
);
