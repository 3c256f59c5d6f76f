/** What users of the reference's host-local plugin count on, here: who gets which address, and when it comes back. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const nothing = { links: [], elements: [], neighbours: [], rows: [] };
const plain = (address: string) => address.split("/")[0] as string;
const addressesOf = (result: { ips: { address: string }[] }) =>
  result.ips.map(({ address }) => plain(address));

describe.skipIf(notRoot !== undefined)(`CNI: as host-local${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());
  afterEach(() => node.sweep());

  test("8.2.1: one address of each range, recorded with the routes asked for, and gone after DEL", async () => {
    const routes = [
      { dst: "0.0.0.0/0" },
      { dst: "192.168.0.0/16", gw: "10.244.1.1" },
      { dst: "2001:db8:2::/64" },
      { dst: "2001:db8:3::/64", gw: "fd00:244:1::1" },
    ];
    const result = await node.add("first", { configuration: { cniVersion: "0.4.0", ipam: { routes } } });
    expect(result.ips).toEqual([
      { version: "4", address: "10.244.1.2/24", gateway: "10.244.1.1", interface: 2 },
      { version: "6", address: "fd00:244:1::2/64", gateway: "fd00:244:1::1", interface: 2 },
    ]);
    const got = result.routes.map(({ dst, gw }: { dst: string; gw: string }) => `${dst} ${gw}`).sort();
    expect(got).toEqual([
      "0.0.0.0/0 10.244.1.1",
      "192.168.0.0/16 10.244.1.1",
      "2001:db8:2::/64 fd00:244:1::1",
      "2001:db8:3::/64 fd00:244:1::1",
      "::/0 fd00:244:1::1",
    ]);
    const rows = await node.sql(
      "SELECT address, network, container, ifname FROM pod_address ORDER BY address",
    );
    const owner = { network: "net", container: "first", ifname: "eth0" };
    expect(rows).toEqual([
      { address: "10.244.1.2", ...owner },
      { address: "fd00:244:1::2", ...owner },
    ]);
    await node.call("DEL", { containerId: "first" });
    expect(await node.remains()).toEqual(nothing);
  });

  test("8.2.2: one container with interfaces in two networks: DEL of one leaves the other", async () => {
    const a = await node.add("double");
    const b = await node.add("double", {
      ifname: "net1",
      netns: "/run/netns/double",
      configuration: { name: "second" },
    });
    // The same interface name in another network is another attachment.
    expect(
      (await node.call("DEL", { containerId: "double", configuration: { name: "second" } })).status,
    ).toBe(0);
    const { rows } = await node.remains();
    expect(rows).toEqual(expect.arrayContaining([...addressesOf(a), ...addressesOf(b)]));
    await node.call("DEL", { containerId: "double", ifname: "net1", configuration: { name: "second" } });
    expect((await node.remains()).rows.sort()).toEqual([...addressesOf(a), "double"].sort());
    expect(await node.in("double", "ping -c1 -W5 10.244.1.1 && ! ip link show net1")).toBe(true);
  });

  test("8.2.3: a second ADD of an interface is refused and changes nothing, with its namespace gone as well", async () => {
    const first = await node.add("again");
    const before = await node.remains();
    const second = await node.call("ADD", { containerId: "again" });
    expect(second.json).toMatchObject({
      code: 101,
      msg: expect.stringContaining(addressesOf(first)[0] as string),
    });
    expect(await node.remains()).toEqual(before);
    await node.removePod("again");
    await node.addPod("again");
    expect((await node.call("ADD", { containerId: "again" })).json.code).toBe(101);
    await node.call("DEL", { containerId: "again" });
    expect((await node.call("ADD", { containerId: "again" })).status).toBe(0);
  });

  test("8.2.6: ids are taken as they are, and a deletion that was written by hand is read as JSON is", async () => {
    for (const id of [" a", "a ", "a\n"])
      expect((await node.call("ADD", { containerId: id, netns: "/run/netns/x" })).json.code).toBe(4);
    await node.add("spaces");
    await node.must(`mkdir -p /var/lib/causeway/tombstones && printf '\\r\\n {"network" : "net",\\r\\n\\t"containerId": "spaces", "ifname":"eth0"} \\n' \
      > /var/lib/causeway/tombstones/by-hand.json`);
    await node.add("spaces-next");
    expect((await node.remains()).rows).not.toContain("spaces");
  });

  test("8.2.7: nothing is said on standard error, neither at first use nor later", async () => {
    await using fresh = await CniNode.create();
    await fresh.startAgent();
    await fresh.addPod("quiet");
    for (const command of ["ADD", "DEL", "ADD", "DEL"]) {
      const { status, stderr } = await fresh.call(command, { containerId: "quiet" });
      expect([command, status, stderr]).toEqual([command, 0, ""]);
    }
  });

  test("8.2.8: addresses by request: one per family, several, and refused when none can be had", async () => {
    await node.addPod("asks");
    const ask = async (ips: string[], args?: string) => {
      const options = { containerId: "asks", configuration: { runtimeConfig: { ips } } };
      const { json, status } = await node.call("ADD", args === undefined ? options : { ...options, args });
      await node.call("DEL", { containerId: "asks" });
      return status === 0 ? addressesOf(json) : json.code;
    };
    const any6 = expect.stringMatching(/^fd00:244:1::/);
    const any4 = expect.stringMatching(/^10\.244\.1\./);
    expect(await ask([], "IP=10.244.1.50")).toEqual(["10.244.1.50", any6]);
    expect(await ask([], "IP=10.244.1.50/24")).toEqual(["10.244.1.50", any6]);
    expect(await ask([], "IP=10.244.1.50,fd00:244:1::50")).toEqual(["10.244.1.50", "fd00:244:1::50"]);
    expect(await ask(["fd00:244:1::51/64"])).toEqual([any4, "fd00:244:1::51"]);
    expect(await ask(["10.244.1.51", "10.244.1.52"])).toEqual(["10.244.1.51", "10.244.1.52", any6]);
    // The one that runtimes set counts, and not the sum of both.
    expect(await ask(["10.244.1.53"], "IP=10.244.1.54")).toEqual(["10.244.1.53", any6]);
    for (const refused of [
      "10.244.2.5",
      "10.244.1.0",
      "10.244.1.1",
      "10.244.1.255",
      "fd00:244:1::1",
      "2001:db8::1",
    ])
      expect([refused, await ask([refused])]).toEqual([refused, 102]);
    expect(await ask(["10.244.1.51", "10.9.9.9"])).toBe(102);
    expect(await node.remains()).toEqual(nothing);
  });

  test("8.2.9, 7.2, 8.2.11: round robin without network, gateway and broadcast, until none is left; then the one that comes back", async () => {
    await using small = await CniNode.create();
    small.ranges = ["10.244.1.0/29"];
    await small.startAgent();
    const status = async () => {
      const { json } = await small.call("STATUS", { configuration: { cniVersion: "1.1.0" } });
      return json?.code ?? 0;
    };
    const names = ["n1", "n2", "n3", "n4", "n5"];
    const given: string[] = [];
    for (const name of names) given.push(...addressesOf(await small.add(name)));
    expect(given).toEqual([2, 3, 4, 5, 6].map((last) => `10.244.1.${last}`));
    await small.addPod("n6");
    const full = await small.call("ADD", { containerId: "n6" });
    expect(full.json).toMatchObject({
      code: 11,
      msg: expect.stringContaining("10.244.1.0/29: all 5 are in use"),
    });
    expect(await status()).toBe(50);
    const taken = { containerId: "n6", configuration: { runtimeConfig: { ips: ["10.244.1.4"] } } };
    expect((await small.call("ADD", taken)).json).toMatchObject({
      code: 102,
      msg: expect.stringContaining("container n3"),
    });
    await small.call("DEL", { containerId: "n3" });
    expect(await status()).toBe(0);
    expect(addressesOf((await small.call("ADD", { containerId: "n6" })).json)).toEqual(["10.244.1.4"]);
    for (const name of ["n1", "n2", "n4", "n5", "n6"]) await small.call("DEL", { containerId: name });
    // The next one is behind the last, and not the first that is free.
    expect(addressesOf((await small.call("ADD", { containerId: "n1" })).json)).toEqual(["10.244.1.5"]);
    await small.call("DEL", { containerId: "n1" });
    expect(await small.remains()).toEqual(nothing);
  });

  test("8.2.10: ranges of the configuration or the runtime are refused: the mesh gives them", async () => {
    await node.addPod("ranges");
    for (const [configuration, path] of [
      [{ ipam: { type: "host-local" } }, "ipam.type"],
      [{ ipam: { subnet: "10.1.2.0/24" } }, "ipam.subnet"],
      [{ ipam: { rangeStart: "10.244.1.9" } }, "ipam.rangeStart"],
      [{ ipam: { rangeEnd: "10.244.1.9" } }, "ipam.rangeEnd"],
      [{ ipam: { gateway: "10.244.1.1" } }, "ipam.gateway"],
      [{ ipam: { ranges: [[{ subnet: "10.244.1.0/24" }]] } }, "ipam.ranges"],
      [{ ipam: { dataDir: "/tmp" } }, "ipam.dataDir"],
      [{ runtimeConfig: { ipRanges: [[{ subnet: "10.1.2.0/24" }]] } }, "runtimeConfig.ipRanges"],
    ] as const) {
      const { json } = await node.call("ADD", { containerId: "ranges", configuration });
      expect([path, json.code, json.details]).toEqual([path, 2, expect.stringContaining(path)]);
    }
    const harmless = { ipam: { type: "causeway", ranges: [] }, runtimeConfig: { ipRanges: [] } };
    expect((await node.call("ADD", { containerId: "ranges", configuration: harmless })).status).toBe(0);
  });

  for (const [range, count] of [
    ["10.244.1.0/30", 1],
    ["10.244.1.8/31", 0],
    ["fd00:244:1::/126", 2],
    ["fd00:244:1::/127", 0],
  ] as const)
    test(`8.2.11: a node with ${range} has room for ${count}, and says so`, async () => {
      await using small = await CniNode.create();
      small.ranges = [range];
      await small.startAgent();
      for (let index = 0; index < count; index++) await small.add(`p${index}`);
      await small.addPod("more");
      expect((await small.call("ADD", { containerId: "more" })).json).toMatchObject({ code: 11 });
      const status = await small.call("STATUS", { configuration: { cniVersion: "1.1.0" } });
      expect(status.json.code).toBe(50);
      expect((await small.remains()).links).toHaveLength(count);
    });

  test("8.2.12, 2.4 dns: ipam.resolvConf is read as resolv.conf, and one that is not there is an error", async () => {
    await node.must(
      "printf '# a\\n; b\\nnameserver 10.0.0.1\\n nameserver  10.0.0.2 \\ndomain x.test\\nsearch y.test z.test\\noptions ndots:5 rotate\\n' > /run/resolv",
    );
    const ipam = { resolvConf: "/run/resolv" };
    const { dns } = await node.add("resolv", { configuration: { ipam } });
    expect(dns).toEqual({
      nameservers: ["10.0.0.1", "10.0.0.2"],
      domain: "x.test",
      search: ["y.test", "z.test"],
      options: ["ndots:5", "rotate"],
    });
    await node.addPod("noresolv");
    const missing = await node.call("ADD", {
      containerId: "noresolv",
      configuration: { ipam: { resolvConf: "/run/absent" } },
    });
    expect(missing.json).toMatchObject({ code: 5, details: 'ipam.resolvConf is "/run/absent"' });
    expect((await node.remains()).rows).not.toContain("noresolv");
  });

  test("8.2.12: a second agent does not touch what the first one keeps", async () => {
    await node.add("kept");
    const before = await node.remains();
    const argument = JSON.stringify({ ranges: node.ranges, mtuBytes: node.mtuBytes });
    const second = await node.run([process.execPath, `${import.meta.dir}/../support/cni-agent.ts`, argument]);
    expect([second.status !== 0, second.stderr.includes("another process answers there")]).toEqual([
      true,
      true,
    ]);
    expect(await node.remains()).toEqual(before);
    expect((await node.call("DEL", { containerId: "kept" })).status).toBe(0);
  });
});
