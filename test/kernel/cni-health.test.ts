/** CHECK, STATUS, VERSION and GC: what is found, what is told, what is cleaned up. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const nothing = { links: [], elements: [], neighbours: [], rows: [] };
const newest = { cniVersion: "1.1.0" };

describe.skipIf(notRoot !== undefined)(`CNI: health${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());
  afterEach(() => node.sweep());

  const check = (containerId: string, prevResult: unknown) =>
    node.call("CHECK", { containerId, configuration: { prevResult } });

  test("K1: CHECK compares with prevResult, and fails without it or with another's", async () => {
    const result = await node.add("k1");
    const [bridge, host, inner] = result.interfaces;
    const edited = (interfaces: unknown[]) => check("k1", { ...result, interfaces });
    expect((await node.call("CHECK", { containerId: "k1" })).json.code).toBe(7);
    expect((await edited([bridge, host])).json).toMatchObject({
      code: 103,
      msg: expect.stringContaining("prevResult does not list eth0"),
    });
    expect((await edited([bridge, host, { ...inner, sandbox: "/run/netns/other" }])).json.code).toBe(103);
    expect((await edited([bridge, host, { ...inner, mac: "02:00:00:00:00:01" }])).json.msg).toContain(
      "Ethernet address of eth0 is 0a:58",
    );
    expect((await edited([bridge, host, { ...inner, mtu: 1000 }])).json.msg).toContain("MTU of eth0");
    for (const broken of [3, [], { ips: [{ address: "x" }] }, { interfaces: [{}] }])
      expect([broken, (await check("k1", broken)).json.code]).toEqual([broken, 7]);
    expect((await check("k1", result)).status).toBe(0);
  });

  test("K4, code 3: CHECK of a pod whose addresses are reserved no more", async () => {
    const result = await node.add("k4");
    await node.call("DEL", { containerId: "k4" });
    expect((await check("k4", result)).json).toMatchObject({
      code: 3,
      details: 'CNI_CONTAINERID is "k4", network is "net"',
    });
    const other = await node.add("k4b");
    const wrong = await node.call("CHECK", {
      containerId: "k4b",
      configuration: { name: "other", prevResult: other },
    });
    expect(wrong.json.code).toBe(3);
  });

  test("K5, 7.9: CHECK finds what cuts a pod off on the node, however briefly the agent lets it be", async () => {
    const result = await node.add("k5");
    const host = result.interfaces[1].name;
    const damages: [string, RegExp][] = [
      [`ip link set ${host} down`, /state of cw\w+ is down/],
      [`ip link set ${host} nomaster`, /bridge of cw\w+ is none/],
      ["ip link set cw-pods down", /state of cw-pods is down/],
      ["ip addr flush dev cw-pods", /gateway address \S+ is missing/],
      ["nft flush set bridge causeway pod_mac", /not complete/],
      ["nft delete table bridge causeway", /not complete/],
    ];
    for (const [damage, message] of damages) {
      // The agent repairs it: at once the first time, after a second from then on.
      let found: string | undefined;
      for (let tries = 0; found === undefined && tries < 50; tries++) {
        await node.must(`${damage} 2>/dev/null || true`);
        found = (await check("k5", result)).json?.msg;
      }
      expect([damage, found]).toEqual([damage, expect.stringMatching(message)]);
      while ((await check("k5", result)).status !== 0) await Bun.sleep(20);
      expect([damage, await node.in("k5", "ping -c1 -W5 10.244.1.1")]).toEqual([damage, true]);
    }
  });

  test("K6, 7.16: CHECK directly after ADD, both families: no address is still being tried", async () => {
    for (let index = 0; index < 20; index++) {
      const name = `k6-${index}`;
      const result = await node.add(name);
      const { status, stdout } = await check(name, result);
      expect([name, status, stdout]).toEqual([name, 0, ""]);
      const [link] = await node.ip("addr show eth0", name);
      const states = link.addr_info.filter((entry: { tentative?: boolean }) => entry.tentative);
      expect([name, states]).toEqual([name, []]);
      // Of no address was it asked whether another has it, so there was nothing to wait for; the one of the link among them.
      const six = link.addr_info.filter((entry: { family: string }) => entry.family === "inet6");
      const asked = six.filter((entry: { nodad?: boolean }) => entry.nodad !== true);
      expect([name, six.length, asked]).toEqual([name, 2, []]);
    }
  });

  test("K7, 7.8: nothing is delegated, so an empty `ipam` and what others made are no reason to fail", async () => {
    const result = await node.add("k7", { configuration: { ipam: {} } });
    const others = {
      ...result,
      interfaces: [
        ...result.interfaces,
        { name: "absent0", mac: "02:00:00:00:00:01", sandbox: "/run/netns/k7" },
      ],
      ips: [...result.ips, { address: "192.0.2.1/24", interface: 3 }],
      routes: [...result.routes, { dst: "198.51.100.0/24", gw: "192.0.2.9" }],
    };
    expect(
      (await node.call("CHECK", { containerId: "k7", configuration: { ipam: {}, prevResult: others } }))
        .status,
    ).toBe(0);
  });

  test("S3, code 50, code 51: a bridge that cannot be made limits attached pods, too", async () => {
    await node.must(
      "ip link del cw-pods; ip link add cw-pods type veth peer name far; ip link set cw-pods alias mine",
    );
    let told: { code?: number; details?: string } | undefined;
    for (let tries = 0; told === undefined && tries < 200; tries++) {
      told = (await node.call("STATUS", { configuration: newest })).json;
      await Bun.sleep(10);
    }
    expect(told).toMatchObject({ code: 51, details: expect.stringContaining("cw-pods") });
    await node.must("ip link del cw-pods");
    while ((await node.call("STATUS", { configuration: newest })).status !== 0) await Bun.sleep(20);
    await node.stopAgent();
    expect((await node.call("STATUS", { configuration: newest })).json.code).toBe(50);
    await node.startAgent();
    expect(await node.call("STATUS", { configuration: newest })).toMatchObject({ status: 0, stdout: "" });
  });

  test("S4: an agent that was never asked for STATUS serves, and DEL is served where STATUS fails", async () => {
    await node.stopAgent();
    node.ranges = ["10.244.9.0/30"];
    await node.startAgent();
    await node.add("s4"); // the only address
    expect((await node.call("STATUS", { configuration: newest })).json.code).toBe(50);
    expect((await node.call("DEL", { containerId: "s4" })).status).toBe(0);
    expect((await node.call("STATUS", { configuration: newest })).status).toBe(0);
    await node.stopAgent();
    node.ranges = ["10.244.1.0/24", "fd00:244:1::/64"];
    await node.startAgent();
  });

  test("S2: addresses of pods whose DEL is written down are not in use: no ADD comes to replay it where STATUS fails", async () => {
    await node.stopAgent();
    node.ranges = ["10.244.9.0/30"];
    await node.startAgent();
    await node.add("s2"); // the only address
    await node.must(
      `mkdir -p /var/lib/causeway/tombstones; echo '{"network":"net","containerId":"s2","ifname":"eth0"}' > /var/lib/causeway/tombstones/s2.json`,
    );
    const { status } = await node.call("STATUS", { configuration: newest });
    await node.stopAgent();
    node.ranges = ["10.244.1.0/24", "fd00:244:1::/64"];
    await node.startAgent();
    expect(status).toBe(0);
  });

  test("S1, S5: STATUS of a configuration that ADD would refuse fails as ADD would", async () => {
    for (const wrong of [{ ipam: { type: "dhcp" } }, { mtu: "x" }]) {
      const configuration = { ...newest, ...wrong };
      const status = await node.call("STATUS", { configuration });
      await node.run(["ip", "netns", "add", "s5"]);
      const add = await node.call("ADD", { containerId: "s5", configuration });
      expect([status.status, status.json]).toEqual([1, add.json]);
    }
  });

  test("V1, 7.13: VERSION gives back the version it was given, and needs nothing else", async () => {
    const supportedVersions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
    for (const [stdin, cniVersion] of [
      ['{"cniVersion":"0.3.1"}', "0.3.1"],
      ['{"cniVersion":"1.0.0","name":"net"}', "1.0.0"],
      ['{"cniVersion":"7.7.7"}', "7.7.7"],
      ["{}", "1.1.0"],
      ["", "1.1.0"],
      ["nonsense", "1.1.0"],
    ]) {
      const { status, stdout, stderr } = await node.run(node.plugin, {
        env: { CNI_COMMAND: "VERSION" },
        stdin: stdin as string,
      });
      expect([status, stderr, JSON.parse(stdout)]).toEqual([0, "", { cniVersion, supportedVersions }]);
    }
    // Its input may be a closed descriptor, or one that says nothing for ever.
    expect((await node.must(`CNI_COMMAND=VERSION ${node.plugin.join(" ")} <&-`)).trim()).toContain("1.1.0");
  });

  const gc = (more: object, environment = {}) =>
    node.call("GC", { netns: undefined, configuration: { ...newest, ...more }, environment });
  const valid = (...containers: string[]) => ({
    "cni.dev/valid-attachments": containers.map((containerID) => ({ containerID, ifname: "eth0" })),
  });
  const attached = async () => (await node.remains()).rows.filter((row) => !/^(?:10\.|fd)/.test(row)).sort();

  test("G1, 7.1: GC frees what is stale: links, rules, neighbours and addresses", async () => {
    for (const name of ["g1a", "g1b", "g1c"]) await node.add(name);
    await node.add("g1a", { ifname: "net1", netns: "/run/netns/g1a" });
    const before = await node.remains();
    expect([before.links.length, before.neighbours.length]).toEqual([4, 8]);
    expect(await gc(valid("g1a", "unheard-of"))).toMatchObject({ status: 0, stdout: "" });
    const after = await node.remains();
    expect([after.links.length, after.neighbours.length, after.rows]).toEqual([
      1,
      2,
      expect.arrayContaining(["g1a"]),
    ]);
    expect(after.rows).toHaveLength(3);
    expect(await node.in("g1a", "ping -c1 -W5 10.244.1.1 && ! ip link show net1")).toBe(true);
    expect(await node.in("g1b", "ip link show eth0")).toBe(false);
    expect((await gc(valid())).status).toBe(0);
    expect(await node.remains()).toEqual(nothing);
  });

  test("3.12: GC without a list removes nothing; the list has two names", async () => {
    await node.add("list");
    expect((await gc({})).status).toBe(0);
    expect((await gc({ "cni.dev/valid-attachments": null })).status).toBe(0);
    expect(await attached()).toEqual(["list"]);
    const attachments = [{ containerID: "list", ifname: "eth0" }];
    expect((await gc({ "cni.dev/attachments": attachments })).status).toBe(0);
    expect((await gc({ ...valid("list"), "cni.dev/attachments": [] })).status).toBe(0);
    expect(await attached()).toEqual(["list"]);
    for (const broken of [3, "x", [3], [{ containerID: "list" }], [{ ifname: "eth0" }]])
      expect([broken, (await gc({ "cni.dev/valid-attachments": broken })).json?.code]).toEqual([broken, 7]);
    expect(await attached()).toEqual(["list"]);
    expect((await gc({ "cni.dev/attachments": [] })).status).toBe(0);
    expect(await attached()).toEqual([]);
  });

  test("G2: GC goes on after one that cannot be removed, names it at the end, and the next GC removes it", async () => {
    const host = (await node.add("stuck")).interfaces[1].name;
    for (const name of ["g2a", "g2b"]) await node.add(name);
    // The kernel deletes no loopback: under the link's name it cannot be removed.
    await node.must(`ip netns del stuck; while ip link show ${host} 2>/dev/null >&2; do sleep 0.01; done`);
    await node.must(`ip link set lo down && ip link set lo name ${host}`);
    const { status, json } = await gc(valid());
    expect([status, json.code]).toEqual([1, 104]);
    expect(json.msg).toBe("Cannot remove 1 of 3 stale attachments");
    expect(json.details).toContain("eth0 of stuck");
    expect(await attached()).toEqual(["stuck"]);
    await node.must(`ip link set ${host} name lo && ip link set lo up`);
    expect((await gc(valid())).status).toBe(0);
    expect(await node.remains()).toEqual(nothing);
  });

  test("G3: GC of one network leaves the others', which it has nothing to forward to", async () => {
    await node.add("g3", { configuration: { name: "other" } });
    expect((await gc(valid())).status).toBe(0);
    expect(await attached()).toEqual(["g3"]);
    expect((await gc({ ...valid(), name: "other" })).status).toBe(0);
    expect(await attached()).toEqual([]);
  });

  test("G4: GC with the namespaces of stale attachments gone, and with them there", async () => {
    for (const name of ["g4-gone", "g4-there"]) await node.add(name);
    await node.removePod("g4-gone");
    expect((await gc(valid())).status).toBe(0);
    expect(await node.remains()).toEqual(nothing);
    expect(await node.in("g4-there", "ip link show eth0")).toBe(false);
  });

  test("G5: GC needs no variable of a container, minds none, and prints nothing", async () => {
    await node.add("g5");
    const { status, stdout, stderr } = await node.run(node.plugin, {
      env: { CNI_COMMAND: "GC", CNI_PATH: "/opt/cni/bin" },
      stdin: JSON.stringify({ ...newest, name: "net", type: "causeway", ...valid("g5") }),
    });
    expect([status, stdout, stderr]).toEqual([0, "", ""]);
    const strange = await gc(valid("g5"), { CNI_CONTAINERID: "/", CNI_IFNAME: "/", CNI_NETNS: "/absent" });
    expect([strange.status, strange.stdout]).toEqual([0, ""]);
    expect(await attached()).toEqual(["g5"]);
  });
});
