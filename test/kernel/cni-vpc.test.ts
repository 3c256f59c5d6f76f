/** Private networks through the plugin: both forms of their configuration, several interfaces of a pod, calls that wait. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

/** As Multus passes them: the first has neither version nor name. */
const talk = { cniVersion: undefined, name: undefined, type: "vxlan", vni: 300, addr: "172.16.32.1/24" };
const blue = { name: "blue", vpc: "blue", subnet: "a" };
const slow = { name: "slow", vpc: "slow" };

describe.skipIf(notRoot !== undefined)(`CNI: private networks${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    node.more = { vpcs: true, answerMs: 20_000 };
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());
  afterEach(async () => {
    await node.must("touch /run/gate");
    for (const name of ["blue", "slow", "vxlan-300", "numbered"])
      await node.call("GC", {
        netns: undefined,
        configuration: {
          cniVersion: "1.1.0",
          name,
          type: "vxlan",
          vni: 300,
          "cni.dev/valid-attachments": [],
        },
      });
    await node.sweep();
    await node.must(
      "rm -f /run/gate /run/vpcs.log; for pod in one two three; do ip netns del $pod 2> /dev/null || :; done",
    );
  });

  const stored = async () => JSON.parse(await node.must("cat /var/lib/causeway/vpcs.json"));
  const log = async () => (await node.must("cat /run/vpcs.log")).trim().split("\n");
  const addressesOf = async (pod: string, link: string) =>
    (await node.ip(`-4 addr show dev ${link}`, pod))[0].addr_info.map(
      ({ local, prefixlen }: { local: string; prefixlen: number }) => `${local}/${prefixlen}`,
    );

  test("the talk's configuration, verbatim: a result of 0.1.0, the address on the link, and two pods that reach each other", async () => {
    const one = await node.add("one", { configuration: talk, ifname: "net1" });
    expect(one).toEqual({ cniVersion: "0.1.0", ip4: { ip: "172.16.32.1/24" }, dns: {} });
    await node.add("two", { configuration: { ...talk, addr: "172.16.32.2/24" }, ifname: "net1" });
    expect(await addressesOf("one", "net1")).toEqual(["172.16.32.1/24"]);
    expect(await node.in("one", "ping -c1 -W2 172.16.32.2")).toBe(true);
    expect((await stored())[0]).toMatchObject({
      attachment: { network: "vxlan-300", containerId: "one", ifname: "net1" },
      vni: 300,
    });
    expect((await node.call("DEL", { containerId: "one", ifname: "net1", configuration: talk })).status).toBe(
      0,
    );
    expect(await node.in("one", "ip link show net1")).toBe(false);
    expect((await node.call("DEL", { containerId: "one", ifname: "net1", configuration: talk })).status).toBe(
      0,
    );
  });

  test("all fields of the talk's: mtu, port and an address of IPv6; in 1.0.0 the result has bridge, node's end and container's", async () => {
    const configuration = {
      ...talk,
      cniVersion: "1.0.0",
      name: "numbered",
      mtu: 1400,
      port: 8472,
      addr: "fd00:32::1/64",
    };
    const result = await node.add("one", { configuration, ifname: "net1" });
    const names = result.interfaces.map(({ name }: { name: string }) => name);
    expect(names).toEqual(["br300", expect.stringMatching(/^cw/), "net1"]);
    expect(result.interfaces[2]).toMatchObject({ mtu: 1400, sandbox: "/run/netns/one" });
    expect(result.ips).toEqual([{ address: "fd00:32::1/64", interface: 2 }]);
    expect((await stored())[0].wish).toMatchObject({
      vni: 300,
      dstPort: 8472,
      mtuBytes: 1400,
      defaultRoute: false,
    });
  });

  test("several networks in one pod, as Multus attaches them: eth0, net1 and net2, deleted one by one", async () => {
    await node.add("one");
    const multus = { containerId: "one", netns: "/run/netns/one" };
    const args = "IgnoreUnknown=true;K8S_POD_NAMESPACE=team-a;K8S_POD_NAME=db-0";
    const net1 = await node.call("ADD", { ...multus, ifname: "net1", configuration: blue, args });
    const net2 = await node.call("ADD", { ...multus, ifname: "net2", configuration: blue, args });
    expect([net1.status, net2.status]).toEqual([0, 0]);
    expect(net1.json.ips).toEqual([{ address: "172.20.0.2/24", gateway: "172.20.0.1", interface: 2 }]);
    expect(net1.json.dns).toEqual({ nameservers: ["172.20.0.53"] });
    expect(net1.json.routes).toEqual([]);
    expect((await stored())[0].wish).toEqual({
      ...{ vpc: "blue", subnet: "a", defaultRoute: false, groups: [] },
      pod: { namespace: "team-a", name: "db-0", labels: {} },
    });
    expect(await node.in("one", "ping -c1 -W2 -I net1 172.20.0.1")).toBe(true);
    const check = { ...multus, ifname: "net1", configuration: { ...blue, prevResult: net1.json } };
    expect((await node.call("CHECK", check)).status).toBe(0);
    await node.must("ip -n one addr del 172.20.0.2/24 dev net1");
    expect((await node.call("CHECK", check)).json).toMatchObject({
      code: 103,
      msg: expect.stringContaining("172.20.0.2/24 is missing"),
    });
    for (const ifname of ["net2", "net1"])
      expect((await node.call("DEL", { ...multus, ifname, configuration: blue })).status).toBe(0);
    expect(await stored()).toEqual([]);
    expect(await node.in("one", "ip link show eth0")).toBe(true);
  });

  test("as the pod's only network (eth0) it has the default route; routes of the configuration are made as well", async () => {
    const routes = [{ dst: "192.0.2.0/24" }, { dst: "198.51.100.0/24", gw: "172.20.0.9" }];
    const result = await node.add("one", { configuration: { ...blue, routes } });
    expect(result.routes).toEqual([
      { dst: "0.0.0.0/0", gw: "172.20.0.1" },
      { dst: "192.0.2.0/24", gw: "172.20.0.1" },
      { dst: "198.51.100.0/24", gw: "172.20.0.9" },
    ]);
    const found = (await node.ip("route", "one")).map(({ dst, gateway }: Record<string, string>) => [
      dst,
      gateway,
    ]);
    expect(found).toEqual([
      ["default", "172.20.0.1"],
      ["172.20.0.0/24", undefined],
      ["192.0.2.0/24", "172.20.0.1"],
      ["198.51.100.0/24", "172.20.0.9"],
    ]);
  });

  test.each([
    ["runtimeConfig", { runtimeConfig: { ips: ["172.20.0.77/24"], mac: "02:00:00:00:00:77" } }, undefined],
    ["args.cni", { args: { cni: { ips: ["172.20.0.77"], mac: "02:00:00:00:00:77" } } }, undefined],
    ["CNI_ARGS", {}, "IgnoreUnknown=1;IP=172.20.0.77;MAC=02:00:00:00:00:77"],
  ])("a requested address and MAC, by %s", async (_, more, args) => {
    const result = await node.add("one", {
      ...{ ifname: "net1", configuration: { ...blue, ...more } },
      ...(args !== undefined && { args }),
    });
    expect(result.ips[0].address).toBe("172.20.0.77/24");
    expect(result.interfaces[2].mac).toBe("02:00:00:00:00:77");
    expect((await node.ip("link show net1", "one"))[0].address).toBe("02:00:00:00:00:77");
  });

  test("groups and owner: of the network, or of the one pod by Multus' cni-args", async () => {
    const own = { groups: ["web"], owner: "vm team-a/db" };
    await node.add("one", { ifname: "net1", configuration: { ...blue, ...own } });
    const cni = { groups: ["db", "web"], owner: "other" };
    await node.add("two", { ifname: "net1", configuration: { ...blue, ...own, args: { cni } } });
    expect((await stored()).map(({ wish }: { wish: unknown }) => wish)).toEqual([
      expect.objectContaining(own),
      expect.objectContaining(cni),
    ]);
  });

  test("a VPC that is not there: the network's own error, and nothing is left", async () => {
    await node.addPod("one");
    const { status, json } = await node.call("ADD", {
      containerId: "one",
      configuration: { name: "red", vpc: "red" },
    });
    expect([status, json.code, json.msg]).toEqual([1, 7, "There is no VPC red; apply one"]);
    expect(await node.in("one", "ip link show eth0")).toBe(false);
  });

  test("what follows an attachment fails: it is undone", async () => {
    await node.addPod("one");
    const routes = [{ dst: "192.0.2.0/24", gw: "203.0.113.1" }];
    const { json } = await node.call("ADD", { containerId: "one", configuration: { ...blue, routes } });
    expect(json).toMatchObject({ code: 7, msg: expect.stringContaining("Cannot install the routes") });
    expect(await stored()).toEqual([]);
    expect(await node.in("one", "ip link show eth0")).toBe(false);
  });

  test("calls of one attachment keep their order while they wait; others, of the default network too, do not wait for them", async () => {
    for (const name of ["one", "two"]) await node.addPod(name);
    const call = (command: string, containerId: string) =>
      node.call(command, { containerId, ifname: "net1", configuration: slow });
    const add = call("ADD", "one");
    while ((await log().catch(() => [])).length === 0) await Bun.sleep(5);
    const del = call("DEL", "one");
    const other = await node.call("ADD", { containerId: "two", ifname: "net1", configuration: blue });
    expect([other.status, (await node.call("ADD", { containerId: "two" })).status]).toEqual([0, 0]);
    expect(await log()).not.toContain("delete one net1");
    await node.must("touch /run/gate");
    expect([(await add).status, (await del).status]).toEqual([0, 0]);
    const own = (await log()).filter((line) => line.includes(" one "));
    expect(own).toEqual(["add one net1", "added one net1", "delete one net1", "deleted one net1"]);
    expect(await node.in("one", "ip link show net1")).toBe(false);
  });

  test("GC removes what the runtime does not list, of this network only", async () => {
    for (const name of ["one", "two"]) await node.add(name, { ifname: "net1", configuration: blue });
    await node.add("three", { ifname: "net1", configuration: talk });
    const valid = [{ containerID: "two", ifname: "net1" }];
    const configuration = { ...blue, cniVersion: "1.1.0", "cni.dev/valid-attachments": valid };
    expect((await node.call("GC", { netns: undefined, configuration })).status).toBe(0);
    const left = (await stored()).map(
      (entry: { attachment: { containerId: string } }) => entry.attachment.containerId,
    );
    expect(left).toEqual(["two", "three"]);
  });
});

describe.skipIf(notRoot !== undefined)(`CNI: private networks that take too long${suffix}`, () => {
  test("the runtime is told to try again in time, and what is done later is undone, with its link", async () => {
    await using node = await CniNode.create();
    node.more = { vpcs: true, answerMs: 500 };
    await node.startAgent();
    await node.addPod("one");
    const call = { containerId: "one", ifname: "net1", configuration: slow };
    expect((await node.call("ADD", call)).json).toMatchObject({
      code: 11,
      msg: expect.stringContaining("500 ms"),
    });
    // Its turn comes after the ADD's.
    expect((await node.call("DEL", call)).json).toMatchObject({ code: 11 });
    await node.must("touch /run/gate");
    const log = async () => node.must("cat /run/vpcs.log");
    while (!(await log()).includes("deleted one")) await Bun.sleep(10);
    expect((await log()).split("\n").slice(0, 4)).toEqual([
      ...["add one net1", "added one net1", "delete one net1", "deleted one net1"],
    ]);
    expect(await node.in("one", "ip link show net1")).toBe(false);
    expect((await node.call("ADD", call)).status).toBe(0);
    expect((await node.call("DEL", call)).status).toBe(0);
  });

  test("a DEL that is written down behind the agent's back is done without any further call", async () => {
    await using node = await CniNode.create();
    node.more = { vpcs: true, replayMs: 50 };
    await node.startAgent();
    await node.add("one", { configuration: blue, ifname: "net1" });
    await node.must(
      `mkdir -p /var/lib/causeway/tombstones; cd /var/lib/causeway/tombstones
      echo '{"network":"blue","containerId":"one","ifname":"net1","vpc":true}' > x; mv x x.json`,
    );
    while ((await node.must("ls /var/lib/causeway/tombstones")).includes("x.json")) await Bun.sleep(10);
    expect(await node.in("one", "ip link show net1")).toBe(false);
  });

  test("while the node takes part in no VPCs: ADD is to be tried again, STATUS says so, DEL is written down", async () => {
    await using node = await CniNode.create();
    await node.startAgent();
    await node.addPod("one");
    const call = { containerId: "one", ifname: "net1", configuration: blue };
    expect((await node.call("ADD", call)).json).toMatchObject({ code: 11 });
    const status = { netns: undefined, configuration: { ...blue, cniVersion: "1.1.0" } };
    expect((await node.call("STATUS", status)).json).toMatchObject({ code: 50 });
    expect((await node.call("DEL", call)).status).toBe(0);
    expect((await node.must("ls /var/lib/causeway/tombstones")).trim().split("\n")).toHaveLength(1);
    await node.stopAgent();
    node.more = { vpcs: true };
    await node.startAgent();
    expect((await node.must("ls /var/lib/causeway/tombstones")).trim()).toBe("");
  });
});
