/** What an operator sets of a hub's relay, through agent and command line: interfaces for XDP, and a rate that may change while data is relayed. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import type { Results } from "../../src/agent/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { run } from "../../src/sys/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { lacksTool } from "../support/scratch.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const skip = labLacks ?? lacksTool("ethtool") ?? lacksTool("iperf3") ?? lacksXdp();
const root = `/run/causeway-test/${process.pid}-relay-settings`;

/** Guards against hanging only. */
const DEADLINE_MS = 180_000;
/** One measurement's other end; it listens when this returns. */
const serve = "iperf3 -s -1 -D && until ss -Hltn sport = :5201 | grep -q .; do sleep 0.05; done";

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: relay-settings }
spec:
  networks:
    - { name: internet, prefix4: 203.0.113.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [internet], agentOptions: ["--relay-xdp", "eth0,nowhere"] }
    - { name: a, networks: [internet] }
    - { name: b, networks: [internet] }
`;

describe.skipIf(skip !== undefined)(`settings of a relay${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("relay-settings", { root });
    lab = await Lab.up(manifest, { root, executable });
    await lab.exec("hub", ["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    // As machines' cables: complete checksums, and queues that XDP can send to.
    for (const node of ["a", "b"]) await lab.exec(node, ["ethtool", "-K", "eth0", "tx", "off"]);
    const network = `--net=${root}/relay-settings/net/internet`;
    await run(["nsenter", network, "ethtool", "-K", "hub", "gro", "on"]);
    await apply({ topology: "hubs-only" });
  }, DEADLINE_MS);
  afterAll(async () => {
    await Lab.remove("relay-settings", { root });
    rmSync(root, { recursive: true, force: true });
  }, DEADLINE_MS);

  const status = async () => (await lab.causewayJson<Results["status"]>("hub", ["status"])).relay;

  async function apply(change: Readonly<Record<string, string | undefined>>): Promise<void> {
    const { spec, ...rest } = await lab.causewayJson<{ readonly spec: object }>("hub", ["mesh", "show"]);
    const text = JSON.stringify({ ...rest, spec: { ...spec, ...change } });
    await lab.causewayJson("hub", ["mesh", "apply", "-"], text);
  }

  async function overlay(node: string): Promise<string> {
    const { node: shown } = await lab.causewayJson<Results["status"]>(node, ["status"]);
    return shown?.overlay4 ?? "";
  }

  const ping = async (address: string) =>
    (await lab.exec("a", ["ping", "-n", "-c", "1", "-W", "5", address])).status === 0;

  test(
    "the interface that is there takes data, the one that is not is named with the reason, in status and log",
    async () => {
      const b = await overlay("b");
      await until(
        async () =>
          (await ping(b)) && (await status())?.pairs === 1 ? undefined : JSON.stringify(await status()),
        { what: "the relayed pair", deadlineMs: DEADLINE_MS },
      );
      const found = await status();
      expect(found?.xdpLinks[0]).toMatch(/^eth0: (native|generic)/);
      expect(found?.xdpLinks[1]).toMatch(/^nowhere: there is no such interface/);
      expect(found).toMatchObject({ liveNodes: 2, pairs: 1 });
      expect(found?.bitsPerSecond).toBeUndefined();
      const shown = (await lab.causeway("hub", ["status"])).stdout;
      expect(shown).toMatch(/^relay +1 pairs of 2 nodes; /m);
      expect(shown).toMatch(/XDP at eth0: (native|generic)/);
      expect(shown).toMatch(/XDP at nowhere: there is no such interface; .*\(relayed in user space\)/);
      const log = readFileSync(`${root}/relay-settings/node/hub/agent.log`, "utf8");
      expect(log).toMatch(/relayed data goes through user space at an interface.*nowhere/);
      await until(
        async () => {
          await ping(b);
          return ((await status())?.xdp?.datagrams ?? 0) > 0 ? undefined : "none";
        },
        { what: "data by the kernel", deadlineMs: DEADLINE_MS },
      );
    },
    DEADLINE_MS,
  );

  test(
    "a rate of the mesh holds at once, and is taken away at once",
    async () => {
      const b = await overlay("b");
      await apply({ topology: "hubs-only", relayRate: "2Mbit" });
      await until(async () => ((await status())?.bitsPerSecond === 2e6 ? undefined : "not yet"), {
        what: "the rate",
        deadlineMs: DEADLINE_MS,
      });
      const shown = (await lab.causeway("hub", ["status"])).stdout;
      expect(shown).toContain("each pair at most 2Mbit");
      expect(shown).toMatch(/XDP at eth0: .*not while there is a rate/);
      expect((await lab.causeway("hub", ["mesh", "show"])).stdout).toContain("relayRate: 2Mbit\n");
      await lab.exec("b", ["sh", "-c", serve]);
      // More than ten times the rate: what is too much is dropped, and counted.
      await lab.exec("a", ["iperf3", "-c", b, "-u", "-b", "30M", "-t", "1", "-l", "1200"]);
      const limited = (await status())?.drops["rate"] ?? 0;
      expect(limited).toBeGreaterThan(100);
      expect(await ping(b)).toBe(true);
      await apply({ topology: "hubs-only", relayRate: undefined });
      await until(async () => ((await status())?.bitsPerSecond === undefined ? undefined : "not yet"), {
        what: "no rate",
        deadlineMs: DEADLINE_MS,
      });
      await lab.exec("b", ["sh", "-c", serve]);
      await lab.exec("a", ["iperf3", "-c", b, "-u", "-b", "30M", "-t", "1", "-l", "1200"]);
      expect((await status())?.drops["rate"]).toBe(limited);
    },
    DEADLINE_MS,
  );

  test("a rate that is none, or too small, is refused with the reason", async () => {
    const show = await lab.causewayJson<{ readonly spec: object }>("hub", ["mesh", "show"]);
    for (const [relayRate, reason] of [
      ["fast", "is not a rate; write it like 500Mbit"],
      ["1kbit", "is less than 64kbit"],
    ] as const) {
      const text = JSON.stringify({ ...show, spec: { ...show.spec, relayRate } });
      const done = await lab.causeway("hub", ["mesh", "apply", "-"], text);
      expect(done.status).toBe(1);
      expect(done.stderr).toContain(reason);
    }
  });
});
