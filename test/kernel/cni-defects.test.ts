/** What goes wrong in the reference plugins and does not here; the numbers are those of the demands' list. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const nothing = { links: [], elements: [], neighbours: [], rows: [] };

describe.skipIf(notRoot !== undefined)(`CNI: defects of the reference${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());
  afterEach(() => node.sweep());

  test("7.3: DEL after the namespace is gone leaves no rule, element, neighbour or address", async () => {
    for (const netns of ["/run/netns/gone", undefined]) {
      await node.add("gone");
      await node.removePod("gone");
      expect((await node.call("DEL", { containerId: "gone", netns })).status).toBe(0);
      expect(await node.remains()).toEqual(nothing);
    }
  });

  test("7.4, 7.15: DEL of an interface or of rules that are gone succeeds, and leaves nothing of the rest", async () => {
    for (const damage of [
      "ip -n half link del eth0",
      "nft flush set bridge causeway pod_mac",
      "nft delete table bridge causeway",
      "nft flush ruleset",
    ]) {
      await node.run(["ip", "netns", "add", "half"]);
      while ((await node.call("ADD", { containerId: "half" })).status !== 0) await Bun.sleep(20);
      await node.must(damage);
      for (let time = 0; time < 2; time++) {
        const { status, stdout } = await node.call("DEL", { containerId: "half" });
        expect([damage, time, status, stdout]).toEqual([damage, time, 0, ""]);
      }
      const { links, neighbours, rows } = await node.remains();
      expect([damage, links, neighbours, rows]).toEqual([damage, [], [], []]);
    }
    // The table itself is the node's, and is made again.
    while ((await node.run(["nft", "list", "chain", "bridge", "causeway", "from_pod"])).status !== 0)
      await Bun.sleep(20);
  });

  test("7.5: two interfaces of a container have rules of their own: DEL of one leaves the other's", async () => {
    const eth0 = await node.add("pair");
    const net1 = await node.add("pair", { ifname: "net1", netns: "/run/netns/pair" });
    const elementsOf = async (result: { interfaces: { name: string }[] }) =>
      (await node.remains()).elements.filter((text) => text.includes(result.interfaces[1]?.name ?? "none"))
        .length;
    expect([await elementsOf(eth0), await elementsOf(net1)]).toEqual([4, 4]);
    await node.call("DEL", { containerId: "pair", ifname: "net1" });
    expect([await elementsOf(eth0), await elementsOf(net1)]).toEqual([4, 0]);
    expect(await node.in("pair", "ping -c1 -W5 10.244.1.1")).toBe(true);
  });

  test("7.7, 3.6, code 8: the node's own namespace is refused before anything is made, unless the override says otherwise", async () => {
    // The links of the tests before may still be on their way out.
    while ((await node.ip("link show type veth")).length > 0) await Bun.sleep(5);
    // A witness of every link that comes or goes; the links `first` and `last` show that it listens, and that it has heard all.
    await node.must("(ip monitor link > /run/heard & echo $! > /run/witness) 2>/dev/null");
    const mark = (name: string) =>
      node.must(
        `while ! grep -q ${name} /run/heard; do ip link add ${name} type bridge; ip link del ${name}; sleep 0.02; done`,
      );
    await mark("first");
    for (const command of ["ADD", "CHECK"]) {
      const { status, json } = await node.call(command, {
        netns: "/proc/self/ns/net",
        configuration: { prevResult: {} },
      });
      expect([command, status, json.code]).toEqual([command, 1, 8]);
    }
    await mark("last");
    const heard = await node.must("kill $(cat /run/witness); cat /run/heard");
    const names = new Set([...heard.matchAll(/^(?:Deleted )?\d+: ([^:@]+)/gm)].map((match) => match[1]));
    // The kernel tells by itself, and late, that the bridge has lost its last port.
    names.delete("cw-pods");
    expect([...names].sort()).toEqual(["first", "last"]);

    for (const [override, code] of [
      ["0", 8],
      ["yes", 8],
      ["1", 0],
      ["true", 0],
    ] as const) {
      const environment = { CNI_NETNS_OVERRIDE: override };
      // The node cannot be its own gateway, so it asks for none.
      const own = {
        containerId: "own",
        netns: "/proc/self/ns/net",
        configuration: { isDefaultGateway: false },
      };
      const { json, status } = await node.call("ADD", { ...own, environment });
      expect([override, status === 0 ? 0 : json.code]).toEqual([override, code]);
      if (status !== 0) continue;
      expect(await node.ip("link show eth0")).toHaveLength(1);
      expect((await node.call("DEL", { ...own, environment })).status).toBe(0);
      expect(await node.remains()).toEqual(nothing);
    }
  });

  test("7.10: every route of the result is in the kernel, as the result says, and the other way round", async () => {
    const routes = [
      { dst: "198.51.100.0/24", gw: "10.244.1.1", mtu: 1300, advmss: 1260 },
      { dst: "198.51.101.0/24", priority: 77 },
      { dst: "198.51.102.0/24", table: 100 },
      { dst: "2001:db8::/32", gw: "fd00:244:1::1", mtu: 1290, advmss: 1220, priority: 9 },
    ];
    const result = await node.add("routes", { configuration: { cniVersion: "1.1.0", ipam: { routes } } });
    type Shown = {
      dst: string;
      gateway?: string;
      metric?: number;
      metrics?: { mtu?: number; advmss?: number }[];
      table?: string;
    };
    const shown: Shown[] = [
      ...((await node.ip("-4 -d route show table all proto static", "routes")) as Shown[]),
      ...((await node.ip("-6 -d route show table all proto static", "routes")) as Shown[]),
    ];
    const prefix = (dst: string, gateway = "") =>
      dst !== "default" ? dst : gateway.includes(":") ? "::/0" : "0.0.0.0/0";
    const installed = shown.map(({ dst, gateway, metric, metrics, table }) => ({
      dst: prefix(dst, gateway),
      gw: gateway,
      mtu: metrics?.[0]?.mtu,
      advmss: metrics?.[0]?.advmss,
      // IPv6 shows its default, which a request without one gets.
      priority: metric === 1024 ? undefined : metric || undefined,
      table: table === undefined || table === "main" ? undefined : Number(table),
    }));
    const plain = (value: object) => JSON.parse(JSON.stringify(value));
    const byName = (a: { dst: string }, b: { dst: string }) => a.dst.localeCompare(b.dst);
    expect(plain(installed.sort(byName))).toEqual(plain(result.routes.sort(byName)));
    expect(installed).toHaveLength(6);
  });

  test("7.11: the MTU of every interface is in the result, and is the kernel's", async () => {
    const result = await node.add("mtu", { configuration: { mtu: 1300 } });
    const told = result.interfaces.map(({ name, mtu }: { name: string; mtu: number }) => [name, mtu]);
    const [bridge, host, eth0] = [
      ...(await node.ip("link show cw-pods")),
      ...(await node.ip(`link show ${told[1][0]}`)),
      ...(await node.ip("link show eth0", "mtu")),
    ];
    expect(told).toEqual([bridge, host, eth0].map(({ ifname, mtu }) => [ifname, mtu]));
    expect(told.map(([, mtu]: [string, number]) => mtu)).toEqual([1420, 1300, 1300]);
  });

  test("7.14: a default route that exists, or that is asked for as well, is no reason to fail", async () => {
    await node.addPod("default");
    const ask = { isDefaultGateway: true, ipam: { routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }] } };
    const { json } = await node.call("ADD", { containerId: "default", configuration: ask });
    expect(json.routes).toEqual([
      { dst: "0.0.0.0/0", gw: "10.244.1.1" },
      { dst: "::/0", gw: "fd00:244:1::1" },
    ]);
    expect(await node.ip("route show default", "default")).toHaveLength(1);
    await node.call("DEL", { containerId: "default" });
    // Somebody else's default route is there first, and stays.
    await node.must(
      "ip -n default link add other type veth peer name other2; ip -n default link set other up; ip -n default route add default dev other",
    );
    const second = await node.call("ADD", { containerId: "default" });
    expect([second.status, second.json.routes]).toEqual([0, [{ dst: "::/0", gw: "fd00:244:1::1" }]]);
    expect(await node.ip("route show default", "default")).toMatchObject([{ dev: "other" }]);
  });
});

describe.skipIf(labLacks !== undefined)(
  `CNI: with the whole agent${labLacks === undefined ? "" : ` (${labLacks})`}`,
  () => {
    let node: CniNode;
    beforeAll(async () => {
      node = await CniNode.create();
      await node.startCauseway(executable);
    });
    afterAll(() => node?.[Symbol.asyncDispose]());

    const masquerading = async () =>
      (await node.run(["nft", "list", "chain", "inet", "causeway", "postrouting"])).stdout.includes(
        "masquerade",
      );

    test("8.1.11: what a pod sends to the world has the node's address, and one rule serves all pods", async () => {
      await node.must(
        "ip netns add world && ip link set far netns world && ip -n world addr add 192.0.2.9/24 dev far",
      );
      await node.must("ip -n world link set far up && ip -n world link set lo up");
      const before = await node.must("nft list table inet causeway | grep masquerade | sed 's/counter.*//'");
      for (const name of ["m1", "m2"]) await node.add(name, { configuration: { ipMasq: true } });
      expect(await node.must("nft list table inet causeway | grep masquerade | sed 's/counter.*//'")).toBe(
        before,
      );
      // The world has no route to pods: an answer comes only to the node's own address.
      for (const name of ["m1", "m2"]) expect(await node.in(name, "ping -c1 -W5 192.0.2.9")).toBe(true);
      for (const name of ["m1", "m2"]) expect((await node.call("DEL", { containerId: name })).status).toBe(0);
      expect(await node.must("nft list table inet causeway | grep masquerade | sed 's/counter.*//'")).toBe(
        before,
      );
    });

    test("7.9: a CHECK that succeeds means that the masquerading rules are there", async () => {
      const result = await node.add("m3");
      const check = () => node.call("CHECK", { containerId: "m3", configuration: { prevResult: result } });
      // The agent makes them anew: at once the first time, after a second from then on.
      for (let round = 0; round < 3; round++) {
        await node.run(["nft", "delete", "table", "inet", "causeway"]);
        const { status } = await check();
        expect(status === 0 ? await masquerading() : true).toBe(true);
      }
      while (!(await masquerading())) await Bun.sleep(20);
      expect(await check()).toMatchObject({ status: 0, stdout: "" });
    });
  },
);
