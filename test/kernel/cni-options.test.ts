/** What a network's configuration asks for, and what the kernel then has: routes, DNS, bridge port, several addresses of a family. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

interface ShownRoute {
  readonly dst: string;
  readonly gw?: string;
  readonly mtu?: number;
  readonly advmss?: number;
  readonly priority?: number;
  readonly table?: number;
  readonly scope?: number;
}

describe.skipIf(notRoot !== undefined)(`CNI: options${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  /** Every route that was made for a pod (the kernel's own have another protocol), as a result would name it, nothing left out. */
  async function routesIn(pod: string): Promise<ShownRoute[]> {
    const shown: ShownRoute[] = [];
    for (const [family, all] of [
      ["-4", "0.0.0.0/0"],
      ["-6", "::/0"],
    ] as const)
      for (const route of await node.ip(`-N -d ${family} route show table all proto 4`, pod)) {
        const length = family === "-4" ? 32 : 128;
        const dst =
          route.dst === "default" ? all : route.dst.includes("/") ? route.dst : `${route.dst}/${length}`;
        const { mtu, advmss } = route.metrics?.[0] ?? {};
        shown.push({
          dst,
          table: Number(route.table),
          scope: family === "-6" && route.gateway === undefined ? 253 : Number(route.scope),
          priority: route.metric ?? 0,
          ...(route.gateway !== undefined && { gw: route.gateway }),
          ...(mtu !== undefined && { mtu }),
          ...(advmss !== undefined && { advmss }),
        });
      }
    return shown.sort(byText);
  }

  /** What a result leaves out is what the kernel then does. */
  function told(routes: readonly ShownRoute[]): ShownRoute[] {
    return routes
      .map((route) => ({ table: 254, scope: 0, priority: route.dst.includes(":") ? 1024 : 0, ...route }))
      .sort(byText);
  }

  const byText = (a: ShownRoute, b: ShownRoute) => (keyOf(a) < keyOf(b) ? -1 : 1);
  const keyOf = ({ dst, table, priority }: ShownRoute) => `${dst} ${table} ${priority}`;
  const check = (containerId: string, prevResult: unknown, configuration: object = {}) =>
    node.call("CHECK", { containerId, configuration: { ...configuration, prevResult } });
  const ours = [
    { dst: "0.0.0.0/0", gw: "10.244.1.1" },
    { dst: "::/0", gw: "fd00:244:1::1" },
  ];

  const asked: ShownRoute[] = [
    { dst: "10.9.0.0/16", gw: "10.244.1.1", mtu: 1300, advmss: 1200, priority: 5, table: 100, scope: 0 },
    { dst: "10.9.0.0/16", gw: "10.244.1.1", priority: 6, mtu: 65520, advmss: 65495 },
    { dst: "10.8.0.0/16", scope: 253 },
    { dst: "10.7.0.1/32", scope: 254, table: 4711 },
    { dst: "fd09::/64", gw: "fd00:244:1::1", mtu: 1290, advmss: 1220, priority: 5, table: 100 },
    { dst: "fd08::/64", scope: 253 },
    { dst: "fd07::/64", gw: "fe80::1" },
  ];

  test("7.10, 2.4 routes: every field of every route is in the kernel as the result says, and CHECK agrees", async () => {
    // The largest that the kernel keeps as they are.
    const most = { mtu: 65520, advmss: 65495 };
    const routes = [...asked, { dst: "10.6.0.0/16" }, { dst: "fd06::/64", ...most }];
    for (const cniVersion of ["0.4.0", "1.0.0", "1.1.0"]) {
      const containerId = `fields-${cniVersion}`;
      const configuration = { cniVersion, ipam: { type: "causeway", routes } };
      const result = await node.add(containerId, { configuration });
      expect(result.routes).toEqual([
        ...ours,
        ...asked,
        { dst: "10.6.0.0/16", gw: "10.244.1.1" },
        { dst: "fd06::/64", gw: "fd00:244:1::1", ...most },
      ]);
      expect(await routesIn(containerId)).toEqual(told(result.routes));
      expect(await check(containerId, result, configuration)).toMatchObject({ status: 0, stdout: "" });
      expect((await node.call("DEL", { containerId, configuration })).status).toBe(0);
    }
    const old = await node.add("fields-old", { configuration: { cniVersion: "0.2.0", routes } });
    expect(old.ip4.routes[1]).toEqual({ dst: "10.9.0.0/16", gw: "10.244.1.1" });
    expect(await routesIn("fields-old")).toHaveLength(11);
  });

  test("7.14: a default route of the configuration replaces ours of its family, with or without a gateway", async () => {
    for (const [containerId, route, made] of [
      ["default-gw", { dst: "0.0.0.0/0", gw: "10.244.1.1", priority: 7 }, { priority: 7 }],
      ["default", { dst: "0.0.0.0/0", mtu: 1300 }, { mtu: 1300 }],
      ["default-link", { dst: "0.0.0.0/0", scope: 253 }, undefined],
    ] as const) {
      const configuration = { isDefaultGateway: true, routes: [route] };
      const result = await node.add(containerId, { configuration });
      expect(result.routes).toEqual([ours[1], made === undefined ? route : { ...ours[0], ...made }]);
      expect(await routesIn(containerId)).toEqual(told(result.routes));
      expect((await check(containerId, result, configuration)).status).toBe(0);
    }
  });

  test("isDefaultGateway false: no default route of ours; pods of the node are reached, the world is not", async () => {
    const configuration = { isDefaultGateway: false, routes: [{ dst: "10.9.0.0/16" }] };
    const result = await node.add("island", { configuration });
    expect(result.routes).toEqual([{ dst: "10.9.0.0/16", gw: "10.244.1.1" }]);
    expect(await routesIn("island")).toEqual(told(result.routes));
    expect(await node.in("island", "ping -c1 -W5 10.244.1.1")).toBe(true);
    expect(await node.in("island", "ip route get 192.0.2.1")).toBe(false);
    expect((await check("island", result, configuration)).status).toBe(0);
  });

  test("K3: CHECK finds a route of the configuration that is gone, or changed", async () => {
    const configuration = { routes: asked };
    for (const [index, [change, message]] of (
      [
        [
          "ip route del 10.9.0.0/16 table 100",
          /the route to 10.9.0.0\/16 via 10.244.1.1 of table 100 is missing/,
        ],
        [
          "ip route change 10.9.0.0/16 via 10.244.1.1 table 100 metric 5 mtu 1000 advmss 1200",
          /MTU of .* is 1000 instead of 1300/,
        ],
        [
          "ip route change 10.9.0.0/16 via 10.244.1.1 table 100 metric 5 mtu 1300",
          /segment size of .* is none instead of 1200/,
        ],
        [
          "ip route replace 10.9.0.0/16 via 10.244.1.7 metric 6",
          /the route to 10.9.0.0\/16 via 10.244.1.1 is missing/,
        ],
        ["ip -6 route del fd08::/64", /the route to fd08::\/64 is missing/],
      ] as const
    ).entries()) {
      const containerId = `k3-${index}`;
      const result = await node.add(containerId, { configuration });
      expect((await check(containerId, result, configuration)).status).toBe(0);
      await node.must(`ip netns exec ${containerId} ${change}`);
      const found = await check(containerId, result, configuration);
      expect([change, found.json?.code, found.json?.msg]).toEqual([
        change,
        103,
        expect.stringMatching(message),
      ]);
      // K2: what is not listed any more is not missed.
      const edited = { ...result, routes: [] };
      expect((await check(containerId, edited, configuration)).status).toBe(0);
      await node.call("DEL", { containerId });
    }
  });

  test("a gateway that cannot be reached is code 7 in the kernel's words, and leaves nothing", async () => {
    const before = await node.remains();
    await node.addPod("unreachable");
    const { json } = await node.call("ADD", {
      containerId: "unreachable",
      configuration: { routes: [{ dst: "10.9.0.0/16", gw: "192.0.2.1" }] },
    });
    expect(json).toMatchObject({
      code: 7,
      msg: expect.stringContaining("add route 10.9.0.0/16 via 192.0.2.1"),
    });
    expect(await node.remains()).toEqual(before);
    expect(await node.ip("link show type veth", "unreachable")).toEqual([]);
  });

  test("a route that the pod has through another interface stays, and is not in the second result", async () => {
    const configuration = { routes: [{ dst: "10.9.0.0/16" }, { dst: "10.8.0.0/16", table: 100 }] };
    const first = await node.add("twice", { configuration });
    expect(first.routes).toHaveLength(4);
    const other = { routes: [{ dst: "10.9.0.0/16" }, { dst: "10.8.0.0/16", table: 101 }] };
    const second = await node.add("twice", {
      ifname: "net1",
      netns: "/run/netns/twice",
      configuration: other,
    });
    expect(second.routes).toEqual([{ dst: "10.8.0.0/16", gw: "10.244.1.1", table: 101 }]);
    expect(await node.ip("route show 10.9.0.0/16", "twice")).toMatchObject([{ dev: "eth0" }]);
    expect((await check("twice", first, configuration)).status).toBe(0);
    const again = { containerId: "twice", ifname: "net1", configuration: { ...other, prevResult: second } };
    expect((await node.call("CHECK", again)).status).toBe(0);
  });

  test("resolvConf: the file's dns is in the result; one that cannot be read is code 5 before anything is made", async () => {
    await node.must("printf 'nameserver 192.0.2.53\\nsearch a b\\noptions ndots:5\\n' > /run/resolv.conf");
    const ipam = { type: "causeway", resolvConf: "/run/resolv.conf" };
    const result = await node.add("resolv", { configuration: { ipam, dns: { search: ["c"] } } });
    expect(result.dns).toEqual({ nameservers: ["192.0.2.53"], search: ["c"], options: ["ndots:5"] });
    const before = await node.remains();
    await node.addPod("resolv2");
    const absent = { ipam: { resolvConf: "/run/absent.conf" } };
    const refused = await node.call("ADD", { containerId: "resolv2", configuration: absent });
    expect(refused.json).toMatchObject({ code: 5, details: 'ipam.resolvConf is "/run/absent.conf"' });
    expect(await node.remains()).toEqual(before);
  });

  const portOf = async (result: { interfaces: { name: string }[] }) => {
    const [link] = await node.ip(`-d link show ${result.interfaces[1]?.name}`);
    const { isolated, hairpin } = link.linkinfo.info_slave_data;
    return { isolated, hairpin };
  };

  test("8.1.15: portIsolation: isolated pods do not reach each other, and reach the node and all others; a restart keeps it", async () => {
    const isolated = { portIsolation: true };
    const one = await node.add("iso1", { configuration: isolated });
    const two = await node.add("iso2", { configuration: isolated });
    const open = await node.add("open", { configuration: { portIsolation: false, hairpinMode: true } });
    const [first, second, third] = [one, two, open].map(({ ips }) =>
      ips.map((ip: { address: string }) => ip.address.split("/")[0]),
    ) as [string[], string[], string[]];
    expect(await portOf(one)).toEqual({ isolated: true, hairpin: false });
    expect(await portOf(open)).toEqual({ isolated: false, hairpin: true });
    const reaches = (from: string, to: string | undefined, wait: number) =>
      node.in(from, `ping -c1 -W${wait} ${to}`);
    for (const round of ["made", "restarted"]) {
      const between = [
        ...second.map((to) => reaches("iso1", to, 1)),
        ...first.map((to) => reaches("iso2", to, 1)),
      ];
      expect([round, ...(await Promise.all(between))]).toEqual([round, false, false, false, false]);
      for (const to of ["10.244.1.1", "fd00:244:1::1", ...third])
        expect([round, to, await reaches("iso1", to, 5)]).toEqual([round, to, true]);
      for (const to of first) expect([round, to, await reaches("open", to, 5)]).toEqual([round, to, true]);
      if (round === "made") {
        await node.stopAgent("SIGKILL");
        await node.must(`bridge link set dev ${one.interfaces[1].name} isolated off`);
        await node.startAgent();
        expect(node.started).toMatchObject({ applied: 1, failed: [] });
      }
    }
    expect(await portOf(one)).toEqual({ isolated: true, hairpin: false });
    expect((await check("iso1", one, isolated)).status).toBe(0);
    await node.stopAgent();
    await node.must(`bridge link set dev ${open.interfaces[1].name} hairpin off`);
    await node.startAgent();
    expect(await portOf(open)).toEqual({ isolated: false, hairpin: true });
  }, 30_000);

  test("code 2, 8.1.5, 8.1.14, 8.1.16, 8.2.10: what is asked for and is not here is refused before anything is made", async () => {
    const before = await node.remains();
    await node.addPod("refused");
    for (const configuration of [
      { vlan: 100 },
      { vlan: 5000 },
      { vlanTrunk: [{ minID: 200 }] },
      { promiscMode: true },
      { ipMasq: false },
      { bridge: "cni0" },
      { disableContainerInterface: true },
      { ipam: { type: "host-local", ranges: [[{ subnet: "10.1.0.0/16" }]] } },
      { ipam: { ranges: [[{ subnet: "10.1.0.0/16" }]] } },
    ]) {
      const { json } = await node.call("ADD", { containerId: "refused", configuration });
      expect([configuration, json.code]).toEqual([configuration, 2]);
    }
    expect(await node.remains()).toEqual(before);
    expect(await node.ip("link show type veth", "refused")).toEqual([]);
    const so = { bridge: "cw-pods", isGateway: true, ipMasq: true, macspoofchk: true, vlan: 0, ipam: {} };
    expect((await node.call("ADD", { containerId: "refused", configuration: so })).status).toBe(0);
  });

  test("8.1.3: several addresses of each family: all work, are the only ones allowed, are checked, and go", async () => {
    for (const containerId of (await node.sql("SELECT container FROM attachment")).map(
      (row) => row.container,
    ))
      for (const ifname of ["eth0", "net1"]) await node.call("DEL", { containerId, ifname });
    await node.add("peer");
    const before = await node.remains();
    const ips = ["10.244.1.100", "10.244.1.101/24", "10.244.1.102", "fd00:244:1::100", "fd00:244:1::101/64"];
    const configuration = { runtimeConfig: { ips, mac: "02:00:00:00:00:77" } };
    const result = await node.add("several", { configuration });
    expect(result.ips).toEqual([
      ...["100", "101", "102"].map((host) => ({
        address: `10.244.1.${host}/24`,
        gateway: "10.244.1.1",
        interface: 2,
      })),
      ...["100", "101"].map((host) => ({
        address: `fd00:244:1::${host}/64`,
        gateway: "fd00:244:1::1",
        interface: 2,
      })),
    ]);
    expect(result.interfaces[2].mac).toBe("02:00:00:00:00:77");
    const addresses = ips.map((text) => text.split("/")[0] as string);
    for (const address of addresses) {
      expect([address, await node.in("peer", `ping -c1 -W5 ${address}`)]).toEqual([address, true]);
      const gateway = address.includes(":") ? "fd00:244:1::1" : "10.244.1.1";
      expect([address, await node.in("several", `ping -c1 -W5 -I ${address} ${gateway}`)]).toEqual([
        address,
        true,
      ]);
    }
    const made = await node.remains();
    expect(made.elements.length - before.elements.length).toBe(1 + 3 + 2 * 2);
    expect(made.neighbours).toEqual(expect.arrayContaining(addresses));
    expect((await check("several", result, configuration)).status).toBe(0);

    // An address that the pod gives itself beside them is not let out.
    await node.must("ip -n several addr add 10.244.1.103/24 dev eth0");
    expect(await node.in("several", "ping -c1 -W1 -I 10.244.1.103 10.244.1.1")).toBe(false);
    await node.must("ip -n several addr del 10.244.1.103/24 dev eth0");
    for (const address of ["10.244.1.102/24", "fd00:244:1::101/64"]) {
      await node.must(`ip -n several addr del ${address} dev eth0`);
      expect((await check("several", result, configuration)).json).toMatchObject({
        code: 103,
        msg: `Cannot confirm the attachment: address ${address} is missing on eth0`,
      });
      await node.must(`ip -n several addr add ${address} dev eth0 nodad`);
    }
    await node.stopAgent();
    await node.startAgent();
    expect(node.started).toMatchObject({ applied: 0, failed: [] });
    expect((await check("several", result, configuration)).status).toBe(0);
    await node.call("DEL", { containerId: "several", netns: undefined });
    expect(await node.remains()).toEqual(before);

    const old = { cniVersion: "0.2.0", ...configuration };
    expect((await node.call("ADD", { containerId: "several", configuration: old })).json).toMatchObject({
      code: 1,
      msg: "CNI version 0.2.0 does not support more than 1 address per family",
    });
    expect(await node.remains()).toEqual(before);
  }, 30_000);
});
