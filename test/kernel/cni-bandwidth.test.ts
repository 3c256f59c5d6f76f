/** Limits of pods as runtimes ask for them: real traffic, in both directions; tc(8) is the witness of what is there. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { checkBandwidth } from "../../src/cni/check-bandwidth.ts";
import { Engine } from "../../src/engine/mod.ts";
import { parseMac } from "../../src/net/mod.ts";
import { bandwidthObjects, type Pod } from "../../src/pods/mod.ts";
import { CniNode } from "../support/cni-node.ts";
import { type Json, lacksKind, lacksTool, notRoot, Scratch } from "../support/scratch.ts";

const cannot = notRoot ?? lacksTool("tc") ?? lacksTool("iperf3") ?? lacksKind({ name: "x", type: "ifb" });
const suffix = cannot === undefined ? "" : ` (skipped: ${cannot})`;

const RATE = 20_000_000;
/** What containerd makes of the annotations `kubernetes.io/ingress-bandwidth: 20M` and `egress-bandwidth: 20M`. */
const both = {
  IngressRate: RATE,
  IngressBurst: 4294967295,
  EgressRate: RATE,
  EgressBurst: 4294967295,
};
const limited = (bandwidth: object) => ({ configuration: { runtimeConfig: { bandwidth } } });

describe.skipIf(cannot !== undefined)(`CNI: CHECK of bandwidth${suffix}`, () => {
  const rate = { bitsPerSecond: RATE, burstBits: 200_000 };
  const id = "0123456789a";
  const pod: Pod = {
    id,
    ifname: "eth0",
    mac: parseMac("02:00:00:00:00:01"),
    addresses: [],
    mtuBytes: 1420,
    bandwidth: { ingress: rate, egress: rate },
  };
  const damages: [string, string[], RegExp][] = [
    ["no ingress", [`tc qdisc del dev cw${id} root`], /qdisc of cw\w+ is \w+ instead of tbf/],
    ["no egress", [`tc qdisc del dev ifb${id} root`], /qdisc of ifb\w+ is \w+ instead of tbf/],
    [
      "another rate",
      [`tc qdisc change dev ifb${id} root handle 43: tbf rate 1gbit burst 1m limit 1m`],
      /qdisc of ifb\w+ has other values/,
    ],
    ["no filter", [`tc filter del dev cw${id} ingress`], /no filter leads from cw\w+ to ifb\w+/],
    ["no holder", [`tc qdisc del dev cw${id} clsact`], /no filter leads from cw\w+ to ifb\w+/],
    [
      "a filter of some frames",
      [
        `tc filter del dev cw${id} ingress`,
        `tc filter add dev cw${id} ingress pref 1 protocol ip u32 match u32 0 0 action mirred egress redirect dev ifb${id}`,
      ],
      /no filter leads from cw\w+ to ifb\w+/,
    ],
    ["the link down", [`ip link set ifb${id} down`], /link ifb\w+ is down/],
    ["the link gone", [`ip link del ifb${id}`], /link ifb\w+ is missing on the node/],
    [
      "another link",
      [`ip link del ifb${id}`, `ip link add ifb${id} type bridge`],
      /link ifb\w+ is of kind bridge instead of ifb/,
    ],
  ];
  for (const [what, commands, message] of damages)
    test(`K4: ${what}`, () => {
      using scratch = new Scratch();
      scratch.text(`ip link add cw${id} type veth peer name inner`);
      scratch.text(`ip link set cw${id} up`);
      using engine = Engine.open({ netns: scratch.netns });
      engine.set("pod", bandwidthObjects(pod));
      expect(engine.apply().failed).toEqual([]);
      checkBandwidth(pod, scratch.route);
      for (const command of commands) scratch.text(command);
      expect(() => checkBandwidth(pod, scratch.route)).toThrow(message);
      checkBandwidth({ ...pod, bandwidth: {} }, scratch.route);
    });
});

describe.skipIf(cannot !== undefined)(`CNI: bandwidth${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  const tc = async (command: string): Promise<Json[]> =>
    JSON.parse((await node.must(`tc -j ${command}`)).trim() || "[]");
  const linkNames = async () => ((await node.ip("link")) as Json[]).map(({ ifname }) => ifname as string);
  /** Everything that limits pods on the node. */
  async function limits(): Promise<string[]> {
    const qdiscs = (await tc("qdisc show")).filter(({ handle }) => handle !== "0:");
    const names = await linkNames();
    const filters = await Promise.all(
      names.map(async (name) =>
        (await tc(`filter show dev ${name} ingress`)).filter(({ options }) => options?.actions !== undefined),
      ),
    );
    return [
      ...names.filter((name) => name.startsWith("ifb")),
      ...qdiscs.map(({ dev, kind, handle, options }) =>
        `${dev} ${kind} ${handle} ${options.rate ?? ""}`.trim(),
      ),
      ...filters.flatMap((list, index) =>
        list.map(({ options }) => `${names[index]} to ${options.actions[0].to_dev}`),
      ),
    ].sort();
  }

  /** Mbit/s of a TCP connection between a pod and the node, as the receiver sees them. */
  async function measured(pod: string, direction: "ingress" | "egress", family = "-4"): Promise<number> {
    const gateway = family === "-4" ? "10.244.1.1" : "fd00:244:1::1";
    const reverse = direction === "ingress" ? "-R" : "";
    const out = await node.must(`ip netns exec ${pod} iperf3 ${family} -J -c ${gateway} -t 2 ${reverse}`);
    const { end, error } = JSON.parse(out);
    if (end.sum_received === undefined) throw new Error(`iperf3: ${error}`);
    return end.sum_received.bits_per_second / 1e6;
  }

  /** iperf3 on the node, for as long as `work` takes. */
  async function withServer(work: () => Promise<void>): Promise<void> {
    // It writes its pid before it listens.
    await node.must(
      "iperf3 -s -D -I /run/iperf3.pid && until ss -Hltn sport = :5201 | grep -q .; do sleep 0.05; done",
    );
    try {
      await work();
    } finally {
      await node.must("kill $(tr -d '\\0' < /run/iperf3.pid)");
    }
  }

  test("a pod without limits has none, and its ADD makes nothing of this kind", async () => {
    await node.add("free");
    await node.add(
      "zero",
      limited({ IngressRate: 0, IngressBurst: 4294967295, EgressRate: 0, EgressBurst: 0 }),
    );
    expect(await limits()).toEqual([]);
  });

  test("real traffic keeps to the limit in both directions, of one pod only", async () => {
    await node.add("slow", limited(both));
    await withServer(async () => {
      for (const direction of ["ingress", "egress"] as const) {
        const mbits = await measured("slow", direction);
        expect([direction, mbits > 10, mbits < 30, mbits]).toEqual([direction, true, true, mbits]);
        expect(await measured("free", direction)).toBeGreaterThan(200);
      }
      expect(await measured("slow", "egress", "-6")).toBeLessThan(30);
    });
  }, 60_000);

  test("one direction is limited without the other; a frame of full size gets through a burst of nothing", async () => {
    await node.add("out", limited({ egressRate: RATE, egressBurst: 8 }));
    await node.add("in", { configuration: { ingressRate: RATE } });
    await withServer(async () => {
      expect(await measured("out", "egress")).toBeWithin(10, 30);
      expect(await measured("out", "ingress")).toBeGreaterThan(200);
      expect(await measured("in", "ingress")).toBeWithin(10, 30);
      expect(await measured("in", "egress")).toBeGreaterThan(200);
    });
    for (const pod of ["out", "in"]) await node.call("DEL", { containerId: pod });
  }, 60_000);

  test("what is limited is still held to its own addresses, and reaches the others", async () => {
    await node.must("ip -n slow addr add 10.244.1.77/24 dev eth0");
    expect(await node.in("slow", "ping -c1 -W1 -I 10.244.1.77 10.244.1.1")).toBe(false);
    for (const target of ["10.244.1.1", "fd00:244:1::1", "10.244.1.2"])
      expect([target, await node.in("slow", `ping -c1 -W5 ${target}`)]).toEqual([target, true]);
  });

  test("the result is that of any pod: the link for limits is not in it", async () => {
    const result = await node.add("result", limited(both));
    expect(result.interfaces).toHaveLength(3);
    await node.call("DEL", { containerId: "result" });
  });

  test("ADD is refused for what is no limit, and leaves nothing", async () => {
    const before = [await limits(), await node.remains()];
    await node.addPod("wrong");
    for (const bandwidth of [{ ingressBurst: 1000 }, { egressRate: -1 }, { ingressRate: 1.5 }]) {
      const { status, json } = await node.call("ADD", { containerId: "wrong", ...limited(bandwidth) });
      expect([status, json.code]).toEqual([1, 7]);
      expect(json.details).toContain(`runtimeConfig.bandwidth.${Object.keys(bandwidth)[0]}`);
    }
    expect([await limits(), await node.remains()]).toEqual(before);
  });

  test("K4: CHECK finds a limit that somebody else has put aside", async () => {
    const prevResult = await node.add("k4", limited(both));
    const link = prevResult.interfaces[1].name as string;
    const check = () => node.call("CHECK", { containerId: "k4", configuration: { prevResult } });
    expect(await check()).toMatchObject({ status: 0, stdout: "" });
    // What does not carry our mark is not repaired.
    await node.must(`tc qdisc replace dev ${link} root handle 1: pfifo`);
    expect((await check()).json).toMatchObject({
      code: 103,
      msg: expect.stringMatching(/its bandwidth is not limited: the qdisc of cw\w+ is pfifo instead of tbf$/),
    });
    await node.must(`tc qdisc del dev ${link} root`);
    while ((await check()).status !== 0) await Bun.sleep(5);
    await node.call("DEL", { containerId: "k4" });
  });

  test("an agent that starts again changes nothing, and goes on keeping the limits", async () => {
    const state = async () => [await limits(), await node.must("tc qdisc show"), await node.ip("link")];
    const before = await state();
    expect(before[0]).toHaveLength(5);
    await node.stopAgent("SIGKILL");
    const pid = await node.must("timeout 60 tc monitor > /run/tc.log 2>&1 & echo $!");
    const said = async () => (await node.must("cat /run/tc.log")).split("\n").filter((line) => line !== "");
    // Until it says so, it does not listen yet.
    while ((await said()).length === 0)
      await node.must("tc qdisc add dev lo clsact; tc qdisc del dev lo clsact");
    const changes = async () => (await said()).filter((line) => !line.includes("dev lo"));
    await node.startAgent();
    expect(node.started).toMatchObject({ applied: 0, failed: [] });
    expect(await state()).toEqual(before);
    expect(await changes()).toEqual([]);
    const limit = (before[0] as string[]).find((line) => /^cw\w+ tbf/.test(line)) as string;
    await node.must(`tc qdisc del dev ${limit.split(" ")[0]} root`);
    while (!Bun.deepEquals(await limits(), before[0])) await Bun.sleep(5);
    expect((await changes()).join()).toContain("tbf");
    await node.must(`kill ${pid}`);
  });

  test("DEL leaves nothing: with the namespace, without it, twice, and after the agent was away", async () => {
    await node.call("DEL", { containerId: "slow" });
    expect(await limits()).toEqual([]);
    const before = await node.remains();
    for (const name of ["d1", "d2", "d3"]) await node.add(name, limited(both));
    expect(await limits()).toHaveLength(15);
    for (let time = 0; time < 2; time++)
      expect((await node.call("DEL", { containerId: "d1" })).status).toBe(0);
    await node.removePod("d2");
    expect((await node.call("DEL", { containerId: "d2" })).status).toBe(0);
    await node.removePod("d3");
    await node.stopAgent("SIGKILL");
    expect((await node.call("DEL", { containerId: "d3", netns: undefined })).status).toBe(0);
    await node.startAgent();
    expect(await limits()).toEqual([]);
    expect(await node.remains()).toEqual(before);
  }, 60_000);

  test("an ADD that fails after the limits are there leaves none", async () => {
    const before = [await limits(), await node.remains()];
    await node.addPod("fails");
    await node.must("ip -n fails link add name eth0 type veth peer name other");
    const { status, json } = await node.call("ADD", { containerId: "fails", ...limited(both) });
    expect([status, json.code]).toEqual([1, 100]);
    expect([await limits(), await node.remains()]).toEqual(before);
  });
});
