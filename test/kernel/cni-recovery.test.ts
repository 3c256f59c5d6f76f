/** CNI when things go wrong: failed ADDs, exhausted ranges, an agent that is away, killed, or restarted. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const nothing = { links: [], elements: [], neighbours: [], rows: [] };

describe.skipIf(notRoot !== undefined)(`CNI: recovery${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    // Five addresses: enough to run out of.
    node.ranges = ["10.244.1.0/29", "fd00:244:1::/64"];
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  const status11 = { cniVersion: "1.1.0" };
  const clear = async (...names: string[]) => {
    for (const containerId of names) expect((await node.call("DEL", { containerId })).status).toBe(0);
    expect(await node.remains()).toEqual(nothing);
  };

  test("a namespace that is none is code 8, and leaves nothing", async () => {
    await node.must("touch /run/plain; mkdir /run/folder");
    for (const netns of [
      "/run/netns/absent",
      "/run/plain",
      "/run/folder",
      "/proc/self/ns/net",
      "/proc/self/ns/mnt",
    ]) {
      const { status, json } = await node.call("ADD", { netns });
      expect([netns, status, json.code]).toEqual([netns, 1, 8]);
      expect(json.msg).toStartWith(`Cannot use CNI_NETNS ${netns}: `);
    }
    expect(await node.remains()).toEqual(nothing);
  });

  test("a failure after link, rules and address were made undoes all of them, and the next ADD works", async () => {
    await node.addPod("late");
    // IPv6 cannot be switched on again there.
    await node.must("ip netns exec late sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
    await node.must("mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys");
    const failed = await node.call("ADD", { containerId: "late" });
    expect(failed.json.code).toBe(104);
    expect(await node.remains()).toEqual(nothing);
    expect(await node.ip("link show type veth", "late")).toEqual([]);
    await node.must("umount /proc/sys");
    expect((await node.call("ADD", { containerId: "late" })).status).toBe(0);
    await clear("late");
  });

  test("an MTU that cannot be is refused before anything is made", async () => {
    await node.addPod("mtu");
    for (const mtu of [9000, 1000])
      expect((await node.call("ADD", { containerId: "mtu", configuration: { mtu } })).json).toMatchObject({
        code: 7,
        details: `mtu is ${mtu}`,
      });
    expect(
      (await node.call("ADD", { containerId: "mtu", configuration: { mtu: 1300 } })).json.interfaces[2].mtu,
    ).toBe(1300);
    await clear("mtu");
  });

  test("S2: exhausted addresses fail ADD and STATUS with a reason, until a pod goes", async () => {
    const names = ["e1", "e2", "e3", "e4", "e5"];
    const given = [];
    for (const name of names) given.push((await node.add(name)).ips[0].address);
    await node.addPod("e6");
    const full = await node.call("ADD", { containerId: "e6" });
    expect(full.json).toMatchObject({
      code: 11,
      msg: expect.stringContaining("10.244.1.0/29: all 5 are in use"),
    });
    expect((await node.call("STATUS", { configuration: status11 })).json.code).toBe(50);
    expect((await node.remains()).links).toHaveLength(5);
    await node.call("DEL", { containerId: "e3" });
    expect((await node.call("STATUS", { configuration: status11 })).status).toBe(0);
    expect((await node.call("ADD", { containerId: "e6" })).json.ips[0].address).toBe(given[2]);
    await clear("e1", "e2", "e4", "e5", "e6");
  });

  test("code 11, code 50: while the agent is away ADD and CHECK fail with 11, STATUS with 50, and VERSION answers", async () => {
    await node.stopAgent();
    await node.addPod("away");
    const add = await node.call("ADD", { containerId: "away" });
    expect(add).toMatchObject({ status: 1, json: { code: 11, cniVersion: "1.0.0" } });
    expect(add.json.msg).toContain("the Causeway agent does not answer");
    expect(add.json.details).toStartWith("/run/causeway/cni.sock: ");
    expect((await node.call("CHECK", { containerId: "away" })).json.code).toBe(11);
    expect((await node.call("STATUS", { configuration: status11 })).json.code).toBe(50);
    expect((await node.call("ADD", { containerId: "/bad" })).json.code).toBe(4);
    expect((await node.call("VERSION", { configuration: { cniVersion: "0.4.0" } })).json).toEqual({
      cniVersion: "0.4.0",
      supportedVersions: ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    });
    await node.startAgent();
  });

  test("a socket that nobody answers on is like none, and the next agent replaces it", async () => {
    await node.stopAgent("SIGKILL");
    expect(await node.must("test -S /run/causeway/cni.sock && echo there")).toBe("there\n");
    expect((await node.call("ADD", { containerId: "away" })).json.code).toBe(11);
    await node.startAgent();
    expect((await node.call("ADD", { containerId: "away" })).status).toBe(0);
    await clear("away");
  });

  test("DEL while the agent is away succeeds, also twice and without the namespace, and is replayed at its start", async () => {
    for (const name of ["t1", "t2", "t3"]) await node.add(name);
    await node.stopAgent("SIGKILL");
    await node.removePod("t2");
    for (const containerId of ["t1", "t1", "t2"])
      expect(await node.call("DEL", { containerId })).toMatchObject({ status: 0, stdout: "" });
    expect((await node.must("ls /var/lib/causeway/tombstones")).trim().split("\n")).toHaveLength(2);
    expect((await node.must("stat -c %a /var/lib/causeway/tombstones")).trim()).toBe("700");
    await node.startAgent();
    const { rows, links } = await node.remains();
    expect([rows.filter((row) => row.startsWith("t")), links.length]).toEqual([["t3"], 1]);
    expect((await node.must("ls /var/lib/causeway/tombstones")).trim()).toBe("");
    await clear("t3");
  });

  test("a tombstone that came while the agent runs is replayed before the next ADD of the same container", async () => {
    await node.add("again");
    await node.must(
      `echo '{"network":"net","containerId":"again","ifname":"eth0"}' > /var/lib/causeway/tombstones/x.json`,
    );
    await node.must("echo nonsense > /var/lib/causeway/tombstones/y.json");
    expect((await node.call("ADD", { containerId: "again" })).status).toBe(0);
    expect((await node.must("ls /var/lib/causeway/tombstones")).trim()).toBe("");
    await clear("again");
  });

  test("a restart changes nothing in the kernel, and pods go on all the while", async () => {
    const result = await node.add("r1");
    await node.add("r2");
    const pod2 = "ping -c1 -W5 10.244.1.1 && ping -c1 -W5 fd00:244:1::1";
    const before = await node.remains();
    const links = await node.must("ip -o link | sort");
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await node.stopAgent(signal);
      expect(await node.in("r2", pod2)).toBe(true);
      await node.startAgent();
      expect(node.started).toMatchObject({ applied: 0, failed: [] });
      expect(await node.in("r2", pod2)).toBe(true);
    }
    expect(await node.remains()).toEqual(before);
    expect(await node.must("ip -o link | sort")).toBe(links);
    expect(
      (await node.call("CHECK", { containerId: "r1", configuration: { prevResult: result } })).status,
    ).toBe(0);
    await clear("r1", "r2");
  });

  test("rules and host links that somebody removed are made again; a pod whose link is gone waits for DEL", async () => {
    await node.add("gone");
    await node.add("kept");
    await node.stopAgent();
    await node.removePod("gone");
    await node.must("nft delete table bridge causeway");
    while ((await node.remains()).links.length > 1) await Bun.sleep(5);
    await node.startAgent();
    expect(node.started.failed).toEqual([]);
    expect((await node.remains()).elements).toHaveLength(4);
    expect(await node.in("kept", "ping -c1 -W5 10.244.1.1")).toBe(true);
    expect((await node.remains()).rows).toContain("gone");
    await clear("gone", "kept");
  });

  test("an attachment that a dead agent had begun is undone by the next one", async () => {
    await node.add("begun");
    await node.stopAgent("SIGKILL");
    await node.sql("UPDATE attachment SET state = 'adding'");
    await node.startAgent();
    expect(await node.remains()).toEqual(nothing);
    expect((await node.call("ADD", { containerId: "begun" })).status).toBe(0);
    await clear("begun");
  });

  test("8.2.4: after a reboot no pod is left, and no address is taken: the file of an earlier boot is not read", async () => {
    await node.add("boot");
    await node.stopAgent();
    await node.removePod("boot");
    while ((await node.remains()).links.length > 0) await Bun.sleep(5);
    await node.must(
      "cd /var/lib/causeway && for file in pods.*; do mv $file pods.00000000-0000-4000-8000-000000000000.db${file#*.db}; done",
    );
    await node.startAgent();
    expect(await node.remains()).toEqual(nothing);
  });

  test("kill -9 in the middle of many calls: after DEL of all, nothing is left and no address was given twice", async () => {
    node.ranges = ["10.245.0.0/24", "fd00:245::/64"];
    await node.stopAgent();
    await node.startAgent();
    const names = Array.from({ length: 24 }, (_, index) => `k${index}`);
    for (const name of names) await node.addPod(name);
    for (let round = 0; round < 3; round++) {
      const calls = names.map((containerId) => node.call("ADD", { containerId }));
      await Promise.race(calls.slice(round * 4, round * 4 + 2));
      await node.stopAgent("SIGKILL");
      const results = await Promise.all(calls);
      const given = results.flatMap(({ json, status }) =>
        status === 0 ? json.ips.map((entry: { address: string }) => entry.address) : [],
      );
      expect(new Set(given).size).toBe(given.length);
      expect(results.every(({ status, json }) => status === 0 || json.code === 11)).toBe(true);
      await node.startAgent();
      for (const [index, { status }] of results.entries())
        if (status === 0)
          expect([names[index], await node.in(names[index] as string, "ping -c1 -W5 10.245.0.1")]).toEqual([
            names[index],
            true,
          ]);
      await clear(...names);
    }
  }, 180_000);
});
