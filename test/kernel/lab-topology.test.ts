/** Topology modes with real agents, changed while traffic flows: every pair direct, no pair direct, and those that talk. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { Lab, type ShownPeer, until } from "../../src/lab/mod.ts";
import { formatIp } from "../../src/net/mod.ts";
import { sleep } from "../../src/sys/mod.ts";
import { ChangedBuild } from "../support/changed-build.ts";
import { labLacks as skip } from "../support/lab-needs.ts";
import { Pinger } from "../support/pinger.ts";

const root = `/run/causeway-test/${process.pid}-topology`;
/** Guards against hanging only: on a slow machine, where a round of probes fails, the next but one is a minute later. */
const DEADLINE_MS = 150_000;
const TEST_MS = 600_000;
setDefaultTimeout(TEST_MS);

/** A pair on demand rests after five minutes; here sooner, and later than a pair counts as talking. */
const REST = {
  file: "src/mesh/ladder-timing.ts",
  from: "REST_AFTER_MS = 300_000",
  to: "REST_AFTER_MS = 12_000",
};

/** src/hub/gossip-plan.ts */
const GOSSIP_MS = 20_000;

/** src/mesh/ladder-explain.ts */
const RESTS = /rests at the hub/;

const NODES = ["a", "b", "c"] as const;
type Name = (typeof NODES)[number];

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: topology }
spec:
  networks:
    - { name: net-h, prefix4: 203.0.113.0/24 }
    - { name: net-a, prefix4: 198.51.100.0/24 }
    - { name: net-b, prefix4: 192.0.2.0/24 }
    - { name: net-c, prefix4: 198.18.0.0/24 }
  routers:
    - { name: core, kind: router, networks: [net-h, net-a, net-b, net-c] }
  nodes:
    - { name: hub, role: hub, networks: [net-h] }
    - { name: a, networks: [net-a], pods: 1, endpoint: auto }
    - { name: b, networks: [net-b], pods: 1, endpoint: auto }
    - { name: c, networks: [net-c], pods: 1, endpoint: auto }
`;

describe.skipIf(skip !== undefined)(`topologies${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  let build: ChangedBuild;
  const measured: string[] = [];

  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("topology", { root });
    build = new ChangedBuild([REST]);
    lab = await Lab.up(manifest, { root, executable: build.executable });
  }, TEST_MS);
  afterAll(async () => {
    if (measured.length > 0) console.log(measured.join("\n"));
    await Lab.remove("topology", { root });
    rmSync(root, { recursive: true, force: true });
    build?.[Symbol.dispose]();
  }, TEST_MS);

  const wait = (what: string, look: () => Promise<string | undefined> | string | undefined) =>
    until(look, { what, deadlineMs: DEADLINE_MS });

  async function become(topology: string): Promise<void> {
    const shown = await lab.causewayJson<{ spec: object }>("hub", ["mesh", "show"]);
    const mesh = { ...shown, spec: { ...shown.spec, topology } };
    await lab.causewayJson("hub", ["mesh", "apply", "-"], JSON.stringify(mesh));
  }

  const pathOf = async (from: Name, to: Name) =>
    (await lab.peers(from)).find(({ name }) => name === to) as ShownPeer;

  /** Waits until both ends of the pairs are on one of the paths. */
  const are = (pairs: readonly (readonly [Name, Name])[], ...paths: ShownPeer["path"][]) =>
    wait(`${pairs.join(" ")} to be ${paths.join(" or ")}`, async () => {
      for (const [one, other] of pairs.flatMap(([x, y]) => [[x, y] as const, [y, x] as const])) {
        const { path, reason } = await pathOf(one, other);
        if (!paths.includes(path)) return `${one} → ${other} ${path}: ${reason}`;
      }
      return undefined;
    });

  /**
   * Waits until both ends of the pairs are at the hub for good. That they are on the relay says less: a node that has not heard of the new topology
   * yet, or waits for a handshake, is too; and the device of one end may still be led away by the last packets of the other.
   */
  const stay = (pairs: readonly (readonly [Name, Name])[], why: RegExp) =>
    wait(`${pairs.join(" ")} to stay at the hub`, async () => {
      for (const [one, other] of pairs.flatMap(([x, y]) => [[x, y] as const, [y, x] as const])) {
        const { path, reason, endpoint = "" } = await pathOf(one, other);
        if (path !== "relay" || !why.test(reason) || !endpoint.startsWith(`${lab.address("hub")}:`))
          return `${one} → ${other} ${path} at ${endpoint}: ${reason}`;
      }
      return undefined;
    });

  const pinger = (from: Name, to: Name) => {
    const { ip4 } = lab.pod(`${to}-p1`);
    const address = ip4 === undefined ? "" : formatIp(ip4);
    return new Pinger(`${from} → ${to}`, address, { command: (argv) => lab.command(`${from}-p1`, argv) });
  };

  const answered = (one: Pinger, sinceMs = Date.now()) =>
    wait(`answers of ${one.name}`, () =>
      one.since(sinceMs) < 100 ? `${one.since(sinceMs)} came` : undefined,
    );

  /** What goes directly between two nodes on the wire of the first, while something happens. */
  async function directPackets(a: Name, b: Name, work: () => Promise<void>): Promise<number> {
    const wire = await lab.capture(`net-${a}`);
    await work();
    const { udpFlows } = await wire.stop();
    expect(udpFlows.length).toBeGreaterThan(0);
    const ends = new Set([lab.address(a), lab.address(b)]);
    return udpFlows
      .filter(
        ({ source, destination }) => ends.has(formatIp(source.ip)) && ends.has(formatIp(destination.ip)),
      )
      .reduce((sum, { packets }) => sum + packets, 0);
  }

  const ALL = [
    ["a", "b"],
    ["a", "c"],
    ["b", "c"],
  ] as const;

  test("full mesh: every pair is direct, whether it talks or not", async () => {
    await are(ALL, "direct");
  });

  test("hubs only: no pair is direct, nor tries to be; what flows goes on by the hub", async () => {
    await using flow = pinger("a", "b");
    await answered(flow);
    const startMs = Date.now();
    await become("hubs-only");
    await stay(ALL, /topology is hubs/);
    // What was under way when the last of them went there may lead a device back until it is read the next time.
    await wait("no packet to go directly", async () => {
      const direct = await directPackets("a", "b", async () => {
        await answered(flow);
        // A round of probes would be begun meanwhile.
        await sleep(3_000);
      });
      return direct === 0 ? undefined : `${direct} went directly`;
    });
    measured.push(
      `full-mesh → hubs-only: longest gap ${Math.round(flow.longestGap(startMs).gapMs)} ms, ${flow.lost} lost`,
    );
  });

  test("on demand: a pair that talks becomes direct, and rests when it does not; others never are", async () => {
    await become("on-demand");
    // What talked lately, such as by gossip, may be direct until it has rested.
    await stay(ALL, RESTS);
    {
      await using flow = pinger("a", "b");
      // For as long as nodes find something to tell each other by themselves.
      const silent = await directPackets("c", "a", async () => {
        await are([ALL[0]], "direct");
        await answered(flow);
        await sleep(GOSSIP_MS);
      });
      expect(silent).toBe(0);
      await are([ALL[1], ALL[2]], "relay");
      measured.push(`on-demand, a pair begins to talk: ${flow.lost} lost`);
    }
    await stay([ALL[0]], RESTS);
    const atRest = await directPackets("a", "b", async () => {
      await using other = pinger("a", "c");
      await are([ALL[1]], "direct");
      await answered(other);
    });
    expect(atRest).toBe(0);
    await using again = pinger("b", "a");
    await are([ALL[0]], "direct");
    await answered(again);
  });

  test("a full mesh again: all are direct, and what flows loses nothing", async () => {
    await using flow = pinger("a", "b");
    await answered(flow);
    await are([ALL[0]], "direct");
    const { lost } = flow;
    await become("full-mesh");
    await are(ALL, "direct");
    await answered(flow);
    expect(flow.lost).toBe(lost);
  });
});
