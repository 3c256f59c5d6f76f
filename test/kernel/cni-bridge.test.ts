/** What users of the reference's bridge plugin count on, here: the same, or refused in words. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const nothing = { links: [], elements: [], neighbours: [], rows: [] };
const [RANGE4, RANGE6] = ["10.244.1.0/24", "fd00:244:1::/64"];
const [GATEWAY4, GATEWAY6] = ["10.244.1.1", "fd00:244:1::1"];

interface Shown {
  readonly local: string;
  readonly prefixlen: number;
  readonly scope: string;
}
const addressesOf = (link: { addr_info: Shown[] }, scope = "global") =>
  link.addr_info
    .filter((entry) => entry.scope === scope)
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);

describe.skipIf(notRoot !== undefined)(`CNI: as the bridge plugin${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());
  afterEach(() => node.sweep());

  /** Options that are refused, all by code 2 and before anything is made. */
  async function refuses(...options: Record<string, unknown>[]): Promise<void> {
    await node.run(["ip", "netns", "add", "refused"]);
    for (const configuration of options) {
      const { status, json } = await node.call("ADD", { containerId: "refused", configuration });
      expect([configuration, status, json?.code]).toEqual([configuration, 1, 2]);
      const key = Object.keys(configuration)[0] as string;
      expect(json.details).toContain(`${key} is ${JSON.stringify(configuration[key])}`);
    }
    expect(await node.remains()).toEqual(nothing);
    expect(await node.ip("link show type veth", "refused")).toEqual([]);
  }

  async function accepts(configuration: Record<string, unknown>): Promise<void> {
    await node.run(["ip", "netns", "add", "accepted"]);
    const { status, stdout } = await node.call("ADD", { containerId: "accepted", configuration });
    expect([configuration, status, status === 0 ? "" : stdout]).toEqual([configuration, 0, ""]);
    expect((await node.call("DEL", { containerId: "accepted", configuration })).status).toBe(0);
  }

  test("8.1.1: the bridge is made, not promiscuous, and the next agent takes it as it is", async () => {
    const [bridge] = await node.ip("-d link show cw-pods");
    expect(bridge).toMatchObject({ linkinfo: { info_kind: "bridge" }, promiscuity: 0 });
    await node.stopAgent();
    await node.startAgent();
    expect((await node.ip("link show cw-pods"))[0].ifindex).toBe(bridge.ifindex);
    await accepts({ bridge: "cw-pods", isGateway: true });
    await refuses({ bridge: "cni0" }, { isGateway: false });
  });

  test("8.1.1, S2: while a bridge of that name is somebody else's, ADD and STATUS fail, and it is left alone", async () => {
    await using own = await CniNode.create();
    await own.must("ip link add cw-pods type bridge");
    const before = await own.must("ip link show cw-pods");
    await own.startAgent();
    expect((await own.call("STATUS", { configuration: { cniVersion: "1.1.0" } })).json.code).toBe(51);
    await own.addPod("pod");
    const { status, json } = await own.call("ADD", { containerId: "pod" });
    expect([status, json?.msg, json?.code]).toEqual([
      1,
      expect.stringContaining("cw-pods"),
      expect.any(Number),
    ]);
    expect(await own.ip("link show type veth", "pod")).toEqual([]);
    expect(await own.must("ip link show cw-pods")).toBe(before);
    await own.must("ip link del cw-pods");
    while ((await own.call("ADD", { containerId: "pod" })).status !== 0) await Bun.sleep(20);
    expect(await own.in("pod", `ping -c1 -W5 ${GATEWAY4}`)).toBe(true);
  });

  for (const [what, ranges] of [
    ["IPv4", [RANGE4]],
    ["IPv6", [RANGE6]],
    ["both families", [RANGE4, RANGE6]],
  ] as const)
    test(`8.1.2, 8.1.12: a default gateway and a CHECK of ${what}: links, addresses and routes are these and no others`, async () => {
      await using own = await CniNode.create();
      own.ranges = [...ranges];
      await own.startAgent();
      await own.must("printf 'nameserver 10.0.0.10\\nsearch a.test\\n' > /run/resolv");
      const configuration = { isDefaultGateway: true, ipam: { resolvConf: "/run/resolv" } };
      const result = await own.add("pod", { configuration });
      const [bridge, host, eth0] = result.interfaces;
      expect([bridge.name, eth0.name, eth0.sandbox, bridge.sandbox, host.sandbox]).toEqual([
        "cw-pods",
        "eth0",
        "/run/netns/pod",
        undefined,
        undefined,
      ]);
      expect(result.interfaces.map(({ mac }: { mac: string }) => mac.length)).toEqual([17, 17, 17]);
      expect(result.dns).toEqual({ nameservers: ["10.0.0.10"], search: ["a.test"] });
      const links = await own.ip("-d addr show");
      expect(links.map(({ ifname }: { ifname: string }) => ifname).sort()).toEqual(
        [host.name, "cw-pods", "lo"].sort(),
      );
      const shown = links.find(({ ifname }: { ifname: string }) => ifname === "cw-pods");
      const gateways = ranges.map((range) => (range === RANGE4 ? `${GATEWAY4}/24` : `${GATEWAY6}/64`));
      expect(shown).toMatchObject({ address: bridge.mac, linkinfo: { info_data: { vlan_filtering: 0 } } });
      expect(addressesOf(shown)).toEqual(gateways);
      expect(host.mac).not.toBe(bridge.mac);
      const [inside] = await own.ip("addr show eth0", "pod");
      expect(inside).toMatchObject({ address: eth0.mac, operstate: "UP" });
      expect(addressesOf(inside)).toEqual(result.ips.map(({ address }: { address: string }) => address));
      expect(addressesOf(inside, "link")).toHaveLength(1);
      for (const [flag, range, gateway] of [
        ["-4", RANGE4, GATEWAY4],
        ["-6", RANGE6, GATEWAY6],
      ] as const) {
        const wanted = (ranges as readonly string[]).includes(range) ? [{ gateway, dev: "eth0" }] : [];
        expect(await own.ip(`${flag} route show default`, "pod")).toMatchObject(wanted);
      }
      const asked = { ...configuration, prevResult: result };
      expect(await own.call("CHECK", { containerId: "pod", configuration: asked })).toMatchObject({
        status: 0,
        stdout: "",
      });
      expect(await own.call("DEL", { containerId: "pod", configuration: asked })).toMatchObject({
        status: 0,
        stdout: "",
      });
      expect(await own.in("pod", "ip link show eth0")).toBe(false);
      expect(await own.ip("link show type veth")).toEqual([]);
      expect(await own.remains()).toEqual(nothing);
    });

  test("8.1.2: isDefaultGateway false leaves the default routes away", async () => {
    const { routes } = await node.add("nodefault", { configuration: { isDefaultGateway: false } });
    expect([routes, await node.ip("route show default", "nodefault")]).toEqual([[], []]);
    expect(await node.in("nodefault", `ping -c1 -W5 ${GATEWAY4}`)).toBe(true);
  });

  test("8.1.3: several addresses of a family: versions that can say one refuse them, before anything is made", async () => {
    await node.addPod("several");
    const ips = ["10.244.1.60", "10.244.1.61", "fd00:244:1::60", "fd00:244:1::61"];
    for (const cniVersion of ["0.1.0", "0.2.0", "0.3.0", "1.0.0"]) {
      const configuration = { cniVersion, runtimeConfig: { ips } };
      const { json } = await node.call("ADD", { containerId: "several", configuration });
      if (cniVersion < "0.3") {
        const msg = `CNI version ${cniVersion} does not support more than 1 address per family`;
        expect(json).toMatchObject({ cniVersion, code: 1, msg });
        expect(await node.remains()).toEqual(nothing);
      } else {
        expect(json.ips.map(({ address }: { address: string }) => address.split("/")[0])).toEqual(ips);
        const [eth0] = await node.ip("addr show eth0", "several");
        const got = addressesOf(eth0).map((text) => text.split("/")[0]);
        expect(got.sort()).toEqual([...ips].sort());
        for (const address of ips) expect((await node.run(["ping", "-c1", "-W5", address])).status).toBe(0);
      }
      // Even so its DEL succeeds: it needs nothing of all this.
      expect((await node.call("DEL", { containerId: "several", configuration })).status).toBe(0);
    }
    expect(await node.remains()).toEqual(nothing);
  });

  test("8.1.4: an empty `ipam` is none of our business: the pod has the node's addresses in every version", async () => {
    await node.addPod("layer2");
    for (const cniVersion of ["0.1.0", "0.2.0", "0.4.0", "1.1.0"]) {
      const configuration = { cniVersion, ipam: {} };
      const { json } = await node.call("ADD", { containerId: "layer2", configuration });
      expect(json.ip4?.ip ?? json.ips[0].address).toMatch(/^10\.244\.1\.\d+\/24$/);
      expect((await node.call("DEL", { containerId: "layer2", configuration })).status).toBe(0);
    }
  });

  test("8.1.5, 8.1.16: VLANs are refused, whatever their numbers", () =>
    refuses(
      { vlan: 100 },
      { vlan: 100, preserveDefaultVlan: false },
      { vlan: 5000 },
      { vlan: -1 },
      { vlanTrunk: [{ id: 101 }, { minID: 200, maxID: 210 }] },
      { vlanTrunk: [{ minID: 10 }] },
      { vlan: 100, vlanTrunk: [{ id: 101 }] },
    ));

  test("8.1.6, 8.2.5: DEL of what was never added succeeds, by an agent that has never served an ADD, too", async () => {
    await using fresh = await CniNode.create();
    await fresh.startAgent();
    for (const netns of ["/run/netns/never", undefined])
      expect(await fresh.call("DEL", { containerId: "never", netns })).toMatchObject({
        status: 0,
        stdout: "",
        stderr: "",
      });
    expect(await fresh.remains()).toEqual(nothing);
  });

  test("8.1.7: addresses that others put on the bridge stay and do no harm; a new range brings a new gateway", async () => {
    await node.must("ip addr add 192.0.2.1/24 dev cw-pods; ip addr add 2001:db8::1/64 dev cw-pods nodad");
    await node.add("foreign");
    expect(await node.in("foreign", `ping -c1 -W5 ${GATEWAY4} && ping -c1 -W5 ${GATEWAY6}`)).toBe(true);
    const on = async () => addressesOf((await node.ip("addr show cw-pods"))[0]);
    expect((await on()).sort()).toEqual(
      [`${GATEWAY4}/24`, "192.0.2.1/24", "2001:db8::1/64", `${GATEWAY6}/64`].sort(),
    );
    await node.must("ip addr del 192.0.2.1/24 dev cw-pods; ip addr del 2001:db8::1/64 dev cw-pods");
    await node.call("DEL", { containerId: "foreign" });
    await node.stopAgent();
    node.ranges = ["10.244.5.0/24", "fd00:244:5::/64"];
    await node.startAgent();
    expect((await on()).sort()).toEqual(["10.244.5.1/24", "fd00:244:5::1/64"]);
    await node.stopAgent();
    node.ranges = [RANGE4, RANGE6];
    await node.startAgent();
    expect((await on()).sort()).toEqual([`${GATEWAY4}/24`, `${GATEWAY6}/64`]);
  });

  test("8.1.8: no promiscuous mode; the bridge's Ethernet address is the same whatever comes and goes", async () => {
    await refuses({ promiscMode: true });
    await accepts({ promiscMode: false });
    const mac = async () => (await node.ip("link show cw-pods"))[0].address;
    const before = await mac();
    for (const name of ["x1", "x2", "x3"]) {
      // The kernel would take the lowest of its ports.
      await node.add(name, { configuration: { runtimeConfig: { mac: `00:00:00:00:00:${name.slice(1)}a` } } });
      expect(await mac()).toBe(before);
    }
    for (const name of ["x1", "x2", "x3"]) {
      await node.call("DEL", { containerId: name });
      expect(await mac()).toBe(before);
    }
  });

  test("8.1.9: runtimeConfig decides on the Ethernet address, then args, then CNI_ARGS", async () => {
    await node.addPod("mac");
    const [first, second, third] = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"];
    for (const [configuration, wanted] of [
      [{}, third],
      [{ args: { cni: { mac: second } } }, second],
      [{ args: { cni: { mac: second } }, runtimeConfig: { mac: first } }, first],
    ] as const) {
      const { json } = await node.call("ADD", { containerId: "mac", configuration, args: `MAC=${third}` });
      expect([json.interfaces[2].mac, (await node.ip("link show eth0", "mac"))[0].address]).toEqual([
        wanted,
        wanted,
      ]);
      expect(await node.in("mac", `ping -c1 -W5 ${GATEWAY4}`)).toBe(true);
      await node.call("DEL", { containerId: "mac" });
    }
  });

  test("8.1.11: masquerading is always so, by nftables", async () => {
    await accepts({ ipMasq: true, ipMasqBackend: "nftables" });
    await refuses({ ipMasq: false }, { ipMasqBackend: "iptables" });
  });

  test("8.1.13: the check of Ethernet addresses cannot be switched off", async () => {
    await accepts({ macspoofchk: true });
    await refuses({ macspoofchk: false });
  });

  test("8.1.14: an interface that stays down is refused, with ipam and without", () =>
    refuses({ disableContainerInterface: true }, { disableContainerInterface: true, ipam: {} }));

  test("8.1.15: isolated pods do not reach each other, and reach all else; hairpin goes back where it came from", async () => {
    const isolated = { portIsolation: true };
    const [one, two, open] = [
      await node.add("iso1", { configuration: isolated }),
      await node.add("iso2", { configuration: isolated }),
      await node.add("open", { configuration: { portIsolation: false, hairpinMode: true } }),
    ];
    const address = (result: { ips: { address: string }[] }) => result.ips[0]?.address.split("/")[0];
    for (const [from, to, reaches] of [
      ["iso1", GATEWAY4, true],
      ["iso1", address(open), true],
      ["open", address(two), true],
      ["iso1", address(two), false],
      ["iso2", address(one), false],
    ] as const)
      expect([from, to, await node.in(from, `ping -c1 -W${reaches ? 5 : 1} ${to}`)]).toEqual([
        from,
        to,
        reaches,
      ]);
    const flags = async (result: { interfaces: { name: string }[] }) => {
      const [link] = await node.ip(`-d link show ${result.interfaces[1]?.name}`);
      const { isolated, hairpin } = link.linkinfo.info_slave_data;
      return { isolated, hairpin };
    };
    expect([await flags(one), await flags(open)]).toEqual([
      { isolated: true, hairpin: false },
      { isolated: false, hairpin: true },
    ]);
  });
});
