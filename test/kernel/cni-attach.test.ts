/** The plugin as runtimes call it, against a real agent in a node of namespaces: ADD, DEL, CHECK, and what the pods can do. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

describe.skipIf(notRoot !== undefined)(`CNI: attach${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  const nothing = { links: [], elements: [], neighbours: [], rows: [] };

  test("the agent starts without failures", () => expect(node.started.failed).toEqual([]));

  test("A1, A4: the interface is there as the result says", async () => {
    const result = await node.add("a1");
    expect(result.cniVersion).toBe("1.0.0");
    expect(
      result.interfaces.map(({ name }: { name: string }) => name.replace(/^cw[0-9a-z]{11}$/, "host")),
    ).toEqual(["cw-pods", "host", "eth0"]);
    const [bridge, host, inner] = result.interfaces;
    expect(inner).toMatchObject({ sandbox: "/run/netns/a1", mtu: 1420 });
    expect(result.ips).toMatchObject([
      { address: "10.244.1.2/24", gateway: "10.244.1.1", interface: 2 },
      { address: "fd00:244:1::2/64", gateway: "fd00:244:1::1", interface: 2 },
    ]);
    expect(result.routes).toEqual([
      { dst: "0.0.0.0/0", gw: "10.244.1.1" },
      { dst: "::/0", gw: "fd00:244:1::1" },
    ]);

    const [eth0] = await node.ip("addr show eth0", "a1");
    expect(eth0).toMatchObject({ address: inner.mac, mtu: 1420, operstate: "UP" });
    const inside = eth0.addr_info.map(
      (entry: Record<string, unknown>) => `${entry.local}/${entry.prefixlen}`,
    );
    expect(inside.slice(0, 2)).toEqual(["10.244.1.2/24", "fd00:244:1::2/64"]);
    expect(eth0.addr_info.some((entry: Record<string, unknown>) => entry.tentative)).toBe(false);
    for (const family of ["-4", "-6"])
      expect(await node.ip(`${family} route show default`, "a1")).toMatchObject([
        { gateway: family === "-4" ? "10.244.1.1" : "fd00:244:1::1", dev: "eth0" },
      ]);
    const [outer] = await node.ip(`link show ${host.name}`);
    expect(outer).toMatchObject({ address: host.mac, master: "cw-pods", mtu: 1420 });
    const [pods] = await node.ip("addr show cw-pods");
    expect(pods).toMatchObject({ address: bridge.mac, operstate: "UP" });
    expect(
      pods.addr_info.map((entry: Record<string, unknown>) => `${entry.local}/${entry.prefixlen}`),
    ).toEqual(expect.arrayContaining(["10.244.1.1/24", "fd00:244:1::1/64"]));
  });

  test("pods reach the gateway and each other, both families, in both directions", async () => {
    const second = await node.add("a2");
    expect(second.ips[0].address).toBe("10.244.1.3/24");
    for (const [pod, targets] of [
      ["a1", ["10.244.1.1", "fd00:244:1::1", "10.244.1.3", "fd00:244:1::3"]],
      ["a2", ["10.244.1.2", "fd00:244:1::2"]],
    ] as const)
      for (const target of targets)
        expect([pod, target, await node.in(pod, `ping -c1 -W5 ${target}`)]).toEqual([pod, target, true]);
    expect(await node.must("ping -c1 -W5 10.244.1.2 && ping -c1 -W5 fd00:244:1::3")).toContain("1 received");
  });

  test("A2: an interface of that name is an error, and leaves nothing of the second ADD", async () => {
    const before = await node.remains();
    const again = await node.call("ADD", { containerId: "a1" });
    expect(again.status).toBe(1);
    expect(again.json).toMatchObject({ code: 101, cniVersion: "1.0.0" });
    const other = await node.call("ADD", { containerId: "other", netns: "/run/netns/a1" });
    expect(other.json).toMatchObject({
      code: 100,
      msg: "Cannot add eth0: the container has an interface of that name",
    });
    expect(await node.remains()).toEqual(before);
    expect(await node.in("a1", "ping -c1 -W5 10.244.1.1")).toBe(true);
  });

  test("K8: CHECK after ADD says nothing and succeeds", async () => {
    const prevResult = await node.add("k8");
    const check = await node.call("CHECK", { containerId: "k8", configuration: { prevResult } });
    expect(check).toMatchObject({ status: 0, stdout: "" });
  });

  test("K3, K4: CHECK finds each kind of damage", async () => {
    const damages: [string, string, RegExp][] = [
      ["ip -n NAME link set eth0 down", "interface down", /state of eth0 is down/],
      ["ip -n NAME addr del 10.244.1.ADDR/24 dev eth0", "address", /address 10.244.1.\d+\/24 is missing/],
      [
        "ip -n NAME -6 addr flush dev eth0 scope global",
        "IPv6 address",
        /address fd00:244:1::\w+\/64 is missing/,
      ],
      ["ip -n NAME route del default", "route", /route via 10.244.1.1 is missing/],
      ["ip -n NAME link set eth0 mtu 1500", "MTU", /MTU of eth0 is 1500 instead of 1420/],
      ["ip -n NAME link set eth0 address 02:00:00:00:00:09", "MAC", /Ethernet address of eth0/],
      ["ip -n NAME link del eth0", "interface", /interface eth0 is missing/],
    ];
    for (const [index, [command, what, message]] of damages.entries()) {
      const name = `k3-${index}`;
      const prevResult = await node.add(name);
      const address = prevResult.ips[0].address.split("/")[0].split(".")[3];
      await node.must(command.replace("NAME", name).replace("ADDR", address));
      const check = await node.call("CHECK", { containerId: name, configuration: { prevResult } });
      expect([what, check.status, check.json?.code]).toEqual([what, 1, 103]);
      expect(check.json.msg).toMatch(message);
      expect((await node.call("DEL", { containerId: name })).status).toBe(0);
    }
  });

  test("K4: CHECK finds a missing element of the rules", async () => {
    const prevResult = await node.add("k4");
    const [, host, inside] = prevResult.interfaces;
    const element = `{ "${host.name}" . ${inside.mac} . ${prevResult.ips[0].address.split("/")[0]} }`;
    // The first foreign change is repaired at once, the next a second later: CHECK comes in between.
    const listed = async () =>
      (await node.must("nft list set bridge causeway pod_ip4")).includes(element.slice(2, -2));
    await node.must(`nft 'delete element bridge causeway pod_ip4 ${element}'`);
    while (!(await listed())) await Bun.sleep(5);
    await node.must(`nft 'delete element bridge causeway pod_ip4 ${element}'`);
    const check = await node.call("CHECK", { containerId: "k4", configuration: { prevResult } });
    expect(check.json).toMatchObject({ code: 103, msg: expect.stringContaining("are not complete") });
    await node.must(`nft 'add element bridge causeway pod_ip4 ${element}'`);
    expect((await node.call("CHECK", { containerId: "k4", configuration: { prevResult } })).status).toBe(0);
  });

  test("K2: routes that a later plugin took out of prevResult are not missed, and what it added is tolerated", async () => {
    const prevResult = await node.add("k2");
    await node.must(
      "ip -n k2 route del default; ip -n k2 addr add 192.0.2.9/32 dev eth0; ip -n k2 route add 198.51.100.0/24 dev eth0",
    );
    const edited = { ...prevResult, routes: prevResult.routes.slice(1) };
    expect(
      (await node.call("CHECK", { containerId: "k2", configuration: { prevResult: edited } })).status,
    ).toBe(0);
  });

  test("CHECK of what was never added, and without prevResult", async () => {
    await node.addPod("never");
    expect(
      (await node.call("CHECK", { containerId: "never", configuration: { prevResult: {} } })).json.code,
    ).toBe(3);
    expect((await node.call("CHECK", { containerId: "a1" })).json.code).toBe(7);
  });

  test("D2, D4: DEL any number of times, and without prevResult", async () => {
    await node.add("d2");
    for (let time = 0; time < 3; time++)
      expect(await node.call("DEL", { containerId: "d2" })).toMatchObject({ status: 0, stdout: "" });
    expect((await node.call("DEL", { containerId: "d2-never" })).status).toBe(0);
    expect(await node.ip("link show type veth", "d2")).toEqual([]);
  });

  test("D3: DEL without CNI_NETNS, and after the namespace is gone, releases everything", async () => {
    const before = await node.remains();
    await node.add("d3a");
    await node.add("d3b");
    expect((await node.call("DEL", { containerId: "d3a", netns: undefined })).status).toBe(0);
    await node.removePod("d3b");
    expect((await node.call("DEL", { containerId: "d3b" })).status).toBe(0);
    expect(await node.remains()).toEqual(before);
  });

  test("an address is not reused at once", async () => {
    const first = await node.add("reuse1");
    await node.call("DEL", { containerId: "reuse1" });
    const second = await node.add("reuse2");
    expect(second.ips[0].address).not.toBe(first.ips[0].address);
  });

  test("several interfaces of one container; the second leaves the default route alone", async () => {
    await node.add("multi");
    const net1 = await node.add("multi", { ifname: "net1", netns: "/run/netns/multi" });
    expect(net1.routes).toEqual([]);
    expect(await node.ip("route show default", "multi")).toMatchObject([{ dev: "eth0" }]);
    await node.call("DEL", { containerId: "multi", ifname: "net1" });
    const links = (await node.ip("link show type veth", "multi")) as { ifname: string }[];
    expect(links.map(({ ifname }) => ifname)).toEqual(["eth0"]);
  });

  test("requested addresses and MAC: runtimeConfig with any case of keys, CNI_ARGS", async () => {
    const asked = await node.add("asked", {
      configuration: {
        RuntimeConfig: { IPs: ["10.244.1.200/24", "fd00:244:1::200"], MAC: "02:00:00:00:0a:0b" },
      },
    });
    expect(asked.ips.map(({ address }: { address: string }) => address)).toEqual([
      "10.244.1.200/24",
      "fd00:244:1::200/64",
    ]);
    expect(asked.interfaces[2].mac).toBe("02:00:00:00:0a:0b");
    expect(await node.in("asked", "ping -c1 -W5 10.244.1.1 && ping -c1 -W5 fd00:244:1::1")).toBe(true);
    const args = await node.add("args", {
      args: "IgnoreUnknown=1;K8S_POD_NAME=x;IP=10.244.1.201;MAC=02:00:00:00:0a:0c",
    });
    expect(args.ips[0].address).toBe("10.244.1.201/24");
    await node.addPod("taken");
    const taken = await node.call("ADD", {
      containerId: "taken",
      configuration: { runtimeConfig: { ips: ["10.244.1.200"] } },
    });
    expect(taken.json).toMatchObject({ code: 102, msg: expect.stringContaining("eth0 of container asked") });
  });

  test("a requested MAC is nobody else's: another pod's, the bridge's, or one that a pod to come will have", async () => {
    await node.add("victim");
    const of = async (link: string, pod?: string) => (await node.ip(`link show ${link}`, pod))[0].address;
    const chosen = "02:00:00:00:0a:0d";
    await node.add("chosen", { configuration: { runtimeConfig: { mac: chosen } } });
    await node.addPod("evil");
    for (const [mac, why] of [
      [await of("eth0", "victim"), "addresses that begin with 0a:58 follow from IP addresses"],
      ["0a:58:0a:f4:01:fe", "addresses that begin with 0a:58 follow from IP addresses"],
      [await of("cw-pods"), "it is the bridge's"],
      [chosen, "another container has it"],
    ])
      expect(
        (await node.call("ADD", { containerId: "evil", configuration: { runtimeConfig: { mac } } })).json,
      ).toMatchObject({ code: 102, msg: expect.stringContaining(why as string), details: `mac is ${mac}` });
    for (const pod of ["victim", "chosen"]) await node.call("DEL", { containerId: pod });
  });

  test("results have the version of the configuration", async () => {
    for (const cniVersion of ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]) {
      const name = `v${cniVersion}`;
      const result = await node.add(name, { configuration: { cniVersion } });
      expect(result.cniVersion).toBe(cniVersion);
      if (cniVersion < "0.3") expect(result.ip4.ip).toMatch(/^10\.244\.1\./);
      else expect(result.ips).toHaveLength(2);
      expect((await node.call("DEL", { containerId: name, configuration: { cniVersion } })).status).toBe(0);
    }
  });

  test("IPv6 is on inside even when the runtime has switched it off", async () => {
    await node.addPod("no6");
    await node.must(
      "ip netns exec no6 sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1",
    );
    await node.add("no6", { netns: "/run/netns/no6" });
    expect(await node.in("no6", "ping -c1 -W5 fd00:244:1::1")).toBe(true);
  });

  test("G1: GC removes what is not listed, in its network only; without a list nothing", async () => {
    await node.add("gc1");
    await node.add("gc2");
    await node.add("gc3", { configuration: { name: "other" } });
    const gc = (more: object) =>
      node.call("GC", { netns: undefined, configuration: { cniVersion: "1.1.0", ...more } });
    const before = await node.remains();
    expect((await gc({})).status).toBe(0);
    expect(await node.remains()).toEqual(before);
    const done = await gc({ "cni.dev/valid-attachments": [{ containerID: "gc1", ifname: "eth0" }] });
    expect(done).toMatchObject({ status: 0, stdout: "" });
    expect((await node.remains()).rows.filter((row) => !/^(10|fd)/.test(row)).sort()).toEqual(["gc1", "gc3"]);
    await gc({ "cni.dev/valid-attachments": [] });
    await gc({ name: "other", "cni.dev/valid-attachments": [] });
  });

  test("S1: STATUS of a healthy node", async () => {
    expect(await node.call("STATUS", { configuration: { cniVersion: "1.1.0" } })).toMatchObject({
      status: 0,
      stdout: "",
    });
  });

  test("P8: 50 ADDs at once get 50 addresses, and 50 DELs leave nothing", async () => {
    const names = Array.from({ length: 50 }, (_, index) => `p${index}`);
    const descriptors = () => readdirSync(`/proc/${node.agentPid}/fd`).length;
    const before = descriptors();
    for (const name of names) await node.addPod(name);
    const results = await Promise.all(names.map((containerId) => node.call("ADD", { containerId })));
    expect(results.filter(({ status }) => status !== 0)).toEqual([]);
    for (const index of [0, 1])
      expect(new Set(results.map(({ json }) => json.ips[index].address)).size).toBe(50);
    expect(await node.in("p0", `ping -c1 -W5 ${results[49]?.json.ips[0].address.split("/")[0]}`)).toBe(true);
    const gone = await Promise.all(names.map((containerId) => node.call("DEL", { containerId })));
    expect(gone.filter(({ status }) => status !== 0)).toEqual([]);
    expect(await node.remains()).toEqual(nothing);
    expect(descriptors()).toBeLessThanOrEqual(before);
  }, 120_000);
});

for (const [family, range, gateway] of [
  [4, "10.244.7.0/26", "10.244.7.1"],
  [6, "fd00:244:7::/120", "fd00:244:7::1"],
] as const)
  test.skipIf(notRoot !== undefined)(`a node with IPv${family} only${suffix}`, async () => {
    await using node = await CniNode.create();
    node.ranges = [range];
    await node.startAgent();
    expect(node.started.failed).toEqual([]);
    const prevResult = await node.add("one");
    const other = await node.add("two");
    expect([prevResult.ips.length, prevResult.routes.length]).toEqual([1, 1]);
    expect(await node.in("one", `ping -c1 -W5 ${gateway}`)).toBe(true);
    expect(await node.in("one", `ping -c1 -W5 ${other.ips[0].address.split("/")[0]}`)).toBe(true);
    expect((await node.call("CHECK", { containerId: "one", configuration: { prevResult } })).status).toBe(0);
  });
