/** What ADD and DEL must do and bear beyond the plain case: chains, failures half-way, deletions that find less than they expect. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const nothing = { links: [], elements: [], neighbours: [], rows: [] };

describe.skipIf(notRoot !== undefined)(`CNI: ADD and DEL${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());
  // One failure must not make the others fail.
  afterEach(() => node.sweep());

  async function clear(...names: string[]): Promise<void> {
    for (const containerId of names) expect((await node.call("DEL", { containerId })).status).toBe(0);
    expect(await node.remains()).toEqual(nothing);
  }

  /** What a plugin before us may have made: everything that a result can say. */
  const before = {
    interfaces: [
      { name: "br0", mac: "02:00:00:00:01:00", mtu: 1500 },
      {
        name: "net0",
        mac: "02:00:00:00:01:01",
        mtu: 1400,
        sandbox: "/run/netns/chain",
        socketPath: "/run/vhost.sock",
        pciID: "0000:00:1f.6",
      },
    ],
    ips: [{ address: "198.51.100.7/24", gateway: "198.51.100.1", interface: 1 }],
    routes: [
      {
        dst: "198.51.0.0/16",
        gw: "198.51.100.1",
        mtu: 1400,
        advmss: 1360,
        priority: 10,
        table: 100,
        scope: 0,
      },
      { dst: "203.0.113.0/24" },
    ],
    dns: { nameservers: ["198.51.100.53"], domain: "before.test", search: ["a"], options: ["b"] },
  };

  test("A3, 2.4 top, 2.4 interfaces, 2.4 ips, 2.4 routes: what plugins before us made is passed on as it was, and ours stands behind it", async () => {
    const cniVersion = "1.1.0";
    const prevResult = { cniVersion, ...before };
    const result = await node.add("chain", { configuration: { cniVersion, prevResult } });
    expect(Object.keys(result).sort()).toEqual(["cniVersion", "dns", "interfaces", "ips", "routes"]);
    expect(result.interfaces.slice(0, 2)).toEqual(before.interfaces);
    expect(result.interfaces[4]).toEqual({
      name: "eth0",
      mac: expect.stringMatching(/^0a:58:/),
      mtu: 1420,
      sandbox: "/run/netns/chain",
    });
    expect(result.ips).toEqual([
      before.ips[0],
      { address: expect.stringMatching(/^10\.244\.1\.\d+\/24$/), gateway: "10.244.1.1", interface: 4 },
      { address: expect.stringMatching(/^fd00:244:1::\w+\/64$/), gateway: "fd00:244:1::1", interface: 4 },
    ]);
    expect(result.routes.slice(0, 2)).toEqual(before.routes);
    expect(result.dns).toEqual(before.dns);
    const check = await node.call("CHECK", {
      containerId: "chain",
      configuration: { cniVersion, prevResult: result },
    });
    expect([check.status, check.stdout]).toEqual([0, ""]);
    await clear("chain");
  });

  test("A5, 7.6, 8.1.10: after each kind of failed ADD nothing of it is left, and the next one succeeds", async () => {
    await node.addPod("failing");
    await node.add("holder", { configuration: { runtimeConfig: { ips: ["10.244.1.99"] } } });
    const held = await node.remains();
    const failures: [string, Record<string, unknown>, number][] = [
      ["address of another", { runtimeConfig: { ips: ["10.244.1.99"] } }, 102],
      ["second address of another", { runtimeConfig: { ips: ["10.244.1.98", "10.244.1.99"] } }, 102],
      ["address outside", { runtimeConfig: { ips: ["192.0.2.1"] } }, 102],
      ["the gateway's address", { runtimeConfig: { ips: ["10.244.1.1"] } }, 102],
      ["an MTU that cannot be", { mtu: 60_000 }, 7],
      ["another plugin's addresses", { ipam: { type: "absent" } }, 2],
    ];
    for (const [what, configuration, code] of failures) {
      const { json } = await node.call("ADD", { containerId: "failing", configuration });
      expect([what, json.code]).toEqual([what, code]);
      expect([what, await node.remains()]).toEqual([what, held]);
      expect(await node.ip("link show type veth", "failing")).toEqual([]);
    }
    // Everything is made, and then a file of the kernel cannot be written: the one that switches IPv6 on again.
    await node.must("ip netns exec failing sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
    await node.must("mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys");
    expect((await node.call("ADD", { containerId: "failing" })).json.code).toBe(104);
    await node.must("umount /proc/sys");
    expect(await node.remains()).toEqual(held);
    expect(await node.ip("link show type veth", "failing")).toEqual([]);
    expect((await node.call("ADD", { containerId: "failing" })).status).toBe(0);
    await node.call("DEL", { containerId: "holder" });
    await clear("failing");
  });

  test("D1: DEL removes both ends of the link, the rules and the record, and nothing of others", async () => {
    const one = await node.add("one");
    await node.add("two");
    const [, host] = one.interfaces;
    expect((await node.call("DEL", { containerId: "one" })).stdout).toBe("");
    expect(await node.in("one", "ip link show eth0")).toBe(false);
    expect((await node.run(["ip", "link", "show", host.name])).status).not.toBe(0);
    const { rows, links } = await node.remains();
    expect([
      links.length,
      rows.filter((row) => row === "one" || row === one.ips[0].address.split("/")[0]),
    ]).toEqual([1, []]);
    expect(await node.in("two", "ping -c1 -W5 10.244.1.1")).toBe(true);
    await clear("two");
  });

  test("D5, code 5: a DEL that can neither be done nor written down fails, and the next one does it", async () => {
    await node.add("lost");
    await node.stopAgent("SIGKILL");
    await node.must(
      "mkdir -p /var/lib/causeway/tombstones && mount -t tmpfs -o ro tmpfs /var/lib/causeway/tombstones",
    );
    const { status, json } = await node.call("DEL", { containerId: "lost" });
    expect([status, json.code]).toEqual([1, 5]);
    expect(json.msg).toStartWith("Cannot write the deletion down");
    await node.must("umount /var/lib/causeway/tombstones");
    await node.startAgent();
    await clear("lost");
  });

  const fromSource = process.env["CAUSEWAY_EXECUTABLE"] === undefined;
  test.skipIf(fromSource)(
    `D2, 3.13: a DEL while the agent is away is written down, whatever variables of our runtime come along${fromSource ? " (skipped: needs CAUSEWAY_EXECUTABLE)" : ""}`,
    async () => {
      await node.add("variables");
      await node.stopAgent("SIGKILL");
      const kept: Record<string, boolean> = {};
      for (const [name, value] of [
        ["BUN_BE_BUN", "1"],
        ["BUN_OPTIONS", "--preload /run/absent.ts"],
        ["BUN_INSPECT", "ws://127.0.0.1:1/x"],
        ["NODE_OPTIONS", "--require /run/absent.ts"],
      ] as const) {
        await node.must("rm -rf /var/lib/causeway/tombstones");
        const environment = { [name]: value };
        const { status, stdout } = await node.call("DEL", { containerId: "variables", environment });
        const { stdout: files } = await node.run(["ls", "/var/lib/causeway/tombstones"]);
        kept[name] = status === 0 && stdout === "" && files.trim().endsWith(".json");
      }
      await node.startAgent();
      expect(kept).toEqual({ BUN_BE_BUN: true, BUN_OPTIONS: true, BUN_INSPECT: true, NODE_OPTIONS: true });
      expect(await node.remains()).toEqual(nothing);
    },
  );

  test("D6: DEL after a failed ADD, with another configuration than the ADD's, and again", async () => {
    await node.addPod("d6");
    const refused = { containerId: "d6", configuration: { ipam: { type: "absent" } } };
    expect((await node.call("ADD", refused)).json.code).toBe(2);
    expect((await node.call("DEL", refused)).status).toBe(0);
    await node.call("ADD", { containerId: "d6" });
    const changed = { mtu: "no number", prevResult: 3, runtimeConfig: [], ipam: { type: "a/b" }, dns: 5 };
    for (let time = 0; time < 2; time++)
      expect(
        (await node.call("DEL", { containerId: "d6", configuration: changed, args: "not=a=pair" })).status,
      ).toBe(0);
    expect(await node.remains()).toEqual(nothing);
  });

  test("D2: thirty DELs of one interface at once all succeed", async () => {
    await node.add("many");
    const calls = await Promise.all(
      Array.from({ length: 30 }, () => node.call("DEL", { containerId: "many" })),
    );
    expect(calls.filter(({ status, stdout }) => status !== 0 || stdout !== "")).toEqual([]);
    expect(await node.remains()).toEqual(nothing);
  });

  test("D3: DEL when somebody removed the link, the rules, the neighbours, or all of them", async () => {
    const damages = [
      "ip -n d3 link del eth0",
      "nft delete table bridge causeway",
      "ip neigh flush dev cw-pods nud permanent",
      "ip link del cw-pods",
      "ip netns del d3; nft delete table bridge causeway; ip link del cw-pods",
    ];
    for (const damage of damages) {
      await node.addPod("d3");
      while ((await node.call("ADD", { containerId: "d3" })).status !== 0) await Bun.sleep(20);
      await node.must(damage);
      expect([damage, (await node.call("DEL", { containerId: "d3" })).status]).toEqual([damage, 0]);
      await node.run(["ip", "netns", "del", "d3"]);
      await node.addPod("d3-next");
      // What was destroyed twice in a second is made again after a second: ADD fails as long, and works then.
      while ((await node.call("ADD", { containerId: "d3-next" })).status !== 0) await Bun.sleep(20);
      expect(await node.in("d3-next", "ping -c1 -W5 10.244.1.1")).toBe(true);
      await clear("d3-next");
      await node.removePod("d3-next");
    }
  });

  test("L1, L2, A5, D5: nothing is delegated: who asks for another's addresses is told so, before anything is made", async () => {
    await node.must(
      `mkdir -p /run/plugins; printf '#!/bin/sh\\ntouch /run/plugins/called\\n' > /run/plugins/other; chmod 755 /run/plugins/other`,
    );
    await node.addPod("l1");
    const options = {
      containerId: "l1",
      configuration: { cniVersion: "1.1.0", ipam: { type: "other" } },
      environment: { CNI_PATH: "/run/plugins" },
    };
    for (const command of ["ADD", "CHECK", "STATUS"]) {
      const { json } = await node.call(command, options);
      expect([command, json.code, json.details]).toEqual([command, 2, 'ipam.type is "other"']);
    }
    // What is stale goes all the same, whatever the file says by now.
    for (const command of ["DEL", "GC"]) expect((await node.call(command, options)).status).toBe(0);
    expect((await node.must("ls /run/plugins")).trim()).toBe("other");
    expect(await node.remains()).toEqual(nothing);
  });
});
