/** Host ports over time: who may have one, what stays when the agent goes, and what goes when the pod does, flows among it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { formatIp, parseIp } from "../../src/net/mod.ts";
import { Conntrack } from "../../src/netlink/mod.ts";
import { both, HostPortNode, mapped, twice } from "../support/host-port-node.ts";
import { UdpFlow } from "../support/port-traffic.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(60_000);
const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

const NODE4 = "192.0.2.1";
const NODE6 = "2001:db8::1";
const CLIENT4 = "192.0.2.9";
const CLIENT6 = "2001:db8::9";

const udp = (hostPort: number) => [{ hostPort, containerPort: 8080, protocol: "udp" }];

describe.skipIf(notRoot !== undefined)(`CNI: host ports, life${suffix}`, () => {
  let node: HostPortNode;
  beforeAll(async () => {
    node = await HostPortNode.start();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  test("a port that another container has is refused, with its name, and nothing of the second ADD stays", async () => {
    await node.add("web", both(80));
    const before = [await node.cni.remains(), await node.elements()];
    for (const hostIP of ["", "0.0.0.0", "::", NODE4, "127.0.0.1"]) {
      const { code, msg, cniVersion } = await node.refusal("late", ...both(80, { hostIP }));
      expect({ code, cniVersion }).toEqual({ code: 105, cniVersion: "1.0.0" });
      expect(msg).toContain("eth0 of container web in network net has 80/tcp; delete that container");
    }
    expect([await node.cni.remains(), await node.elements()]).toEqual(before);
    expect(await node.ask("client", NODE4, 80)).toEqual(twice(`web sees ${CLIENT4}`));
    await node.remove("web");
    await node.add("late", both(80));
    expect(await node.ask("client", NODE4, 80)).toEqual(twice(`late sees ${CLIENT4}`));
    await node.remove("late");
  });

  test("the node's own ports are refused", async () => {
    const { code, msg } = await node.refusal("own", ...udp(51820));
    expect([code, msg]).toEqual([
      105,
      "Cannot map host port 51820/udp: it is the port of the tunnel; choose another hostPort",
    ]);
    await node.add("tcp", [{ hostPort: 51820, containerPort: 8080, protocol: "tcp" }]);
    expect(await node.ask("client", NODE4, 51820)).toEqual([`tcp sees ${CLIENT4}`, "refused"]);
    await node.remove("tcp");
  });

  test("another interface of the same container asks for the same ports again: the first has them", async () => {
    const [first] = (await node.add("multi", both(80))).ips;
    const call = { containerId: "multi", netns: "/run/netns/multi", configuration: mapped(...both(80)) };
    expect((await node.cni.call("ADD", { ...call, ifname: "net1" })).status).toBe(0);
    expect((await node.elements())[0]).toBe(`tcp 80 > ${first.address.split("/")[0]} 8080`);
    expect((await node.cni.call("ADD", call)).json).toMatchObject({ code: 101 });
    expect(await node.elements()).toHaveLength(4);
    expect((await node.cni.call("DEL", { containerId: "multi", ifname: "net1" })).status).toBe(0);
    expect(await node.ask("client", NODE4, 80)).toEqual(twice(`multi sees ${CLIENT4}`));
    await node.remove("multi");
    expect(await node.elements()).toEqual([]);
  });

  test("a failed ADD leaves no host port", async () => {
    await node.cni.add("taken");
    const netns = "/run/netns/taken";
    const failed = await node.cni.call("ADD", {
      containerId: "x",
      netns,
      configuration: mapped(...both(80)),
    });
    expect(failed.json).toMatchObject({ code: 100 });
    expect(await node.elements()).toEqual([]);
    expect(await node.ask("client", NODE4, 80)).toEqual(twice("refused"));
    await node.remove("taken");
  });

  for (const [family, to, sees] of [
    ["IPv4", NODE4, CLIENT4],
    ["IPv6", NODE6, CLIENT6],
  ] as const)
    test(`a UDP flow that goes on follows the port from pod to pod, ${family}`, async () => {
      // To the gateway first: what the client sends before it knows the node's link address is lost.
      await node.ask("client", to, 9);
      using flow = await UdpFlow.open({ from: node.at("client"), to, port: 5300 });
      expect(await flow.ask()).toBe("refused");
      await node.add("one", udp(5300));
      expect(await flow.ask()).toBe(`one sees ${sees}`);
      await node.remove("one");
      await node.add("two", udp(5300));
      expect(await flow.ask()).toBe(`two sees ${sees}`);
      await node.remove("two");
    });

  test("a UDP flow on the node itself follows too, and flows to other machines are left alone", async () => {
    using inside = await UdpFlow.open({ from: node.at("node"), to: "127.0.0.1", port: 5300 });
    using outside = await UdpFlow.open({ from: node.at("node"), to: CLIENT4, port: 5300 });
    expect([await inside.ask(), await outside.ask()]).toEqual(twice("refused"));
    using conntrack = Conntrack.open({ netns: node.at("node") });
    const away = () =>
      conntrack
        .list({ family: 4, protocol: 17, destinationPort: 5300 })
        .filter(({ original }) => formatIp(original.destination) === CLIENT4)
        .map(({ id }) => id);
    const before = away();
    expect(before).toHaveLength(1);
    await node.add("dns", udp(5300));
    expect(await inside.ask()).toBe("dns sees 10.244.1.1");
    expect(away()).toEqual(before);
    await node.remove("dns");
  });

  test("the flows of a pod that is gone are forgotten, those of others are not", async () => {
    const gone = await node.add("gone", both(80));
    const stays = await node.add("stays", both(81));
    for (const to of [NODE4, NODE6]) for (const port of [80, 81]) await node.ask("client", to, port);
    for (const pod of ["gone", "stays"]) await node.ask(pod, CLIENT4, 7);
    using conntrack = Conntrack.open({ netns: node.at("node") });
    const addresses = ({ ips }: { ips: { address: string }[] }) =>
      ips.map(({ address }) => parseIp(address.split("/")[0] as string));
    const count = (result: { ips: { address: string }[] }) =>
      addresses(result)
        .map((ip) => ({ ...ip, length: ip.family === 4 ? 32 : 128 }))
        .map((anyAddress) => conntrack.list({ anyAddress }).length);
    // TCP and UDP to the pod, UDP from it; what was refused by RST is forgotten by the kernel itself.
    expect(count(gone)).toEqual([3, 2]);
    const before = count(stays);
    await node.remove("gone");
    while (count(gone).some((number) => number > 0)) await Bun.sleep(10);
    expect(count(stays)).toEqual(before);
    await node.remove("stays");
  });

  for (const signal of ["SIGTERM", "SIGKILL"] as const)
    test(`the agent may go and come back: ${signal}`, async () => {
      await node.add("web", both(80));
      await node.add("more", both(81, { hostIP: NODE4 }));
      const before = await node.elements();
      await node.cni.stopAgent(signal);
      expect(await node.ask("client", NODE4, 80)).toEqual(twice(`web sees ${CLIENT4}`));
      // A deletion while it is away.
      node.leave("more");
      expect((await node.cni.call("DEL", { containerId: "more" })).status).toBe(0);
      await node.cni.startAgent();
      expect(node.cni.started).toMatchObject({ failed: [] });
      await node.cni.removePod("more");
      expect(await node.elements()).toEqual(before.filter((element) => !element.includes(NODE4)));
      expect(await node.ask("client", NODE4, 80)).toEqual(twice(`web sees ${CLIENT4}`));
      expect(await node.ask("node", "127.0.0.1", 80)).toEqual(twice("web sees 10.244.1.1"));
      expect((await node.refusal("late", ...both(80))).code).toBe(105);
      await node.add("more", both(81));
      expect(await node.ask("client", NODE4, 81)).toEqual(twice(`more sees ${CLIENT4}`));
      await node.remove("web");
      await node.remove("more");
      expect(await node.elements()).toEqual([]);
    });

  test("K4: CHECK finds a host port that leads nowhere, or elsewhere", async () => {
    const prevResult = await node.add("check", [...both(80), ...both(81, { hostIP: NODE4 })]);
    const check = () => node.cni.call("CHECK", { containerId: "check", configuration: { prevResult } });
    expect(await check()).toMatchObject({ status: 0, stdout: "" });
    const address = prevResult.ips[0].address.split("/")[0];
    const damages: [set: string, key: string, replacement: string | undefined, message: RegExp][] = [
      ["host_port", "tcp . 80", undefined, /host port 80\/tcp does not work: it leads to nobody/],
      [
        "host_port",
        "udp . 80",
        "10.244.1.99 . 1",
        /80\/udp does not work: it leads to 10.244.1.99 . 1 instead/,
      ],
      ["host_port_at", `${NODE4} . tcp . 81`, undefined, /192.0.2.1:81\/tcp does not work/],
    ];
    for (const [set, key, replacement, message] of damages) {
      const element = `ip causeway ${set} { ${key}`;
      const add = replacement && `; add element ${element} : ${replacement} }`;
      // The agent repairs what others break, each time a little later: some time CHECK comes in between.
      let json: { code: number; msg: string } | undefined;
      while (json === undefined) {
        await node.cni.must(`nft 'delete element ${element} }${add ?? ""}' 2>/dev/null || true`);
        json = (await check()).json;
      }
      expect(json).toMatchObject({ code: 103, msg: expect.stringMatching(message) });
      // Undone by hand, so that the next one is looked at alone.
      const right = `add element ${element} : ${address} . 8080 }`;
      await node.cni.must(
        `nft 'delete element ${element} }' 2>/dev/null; nft '${right}' 2>/dev/null || true`,
      );
    }
    expect(await check()).toMatchObject({ status: 0, stdout: "" });
    await node.remove("check");
  });

  test("D3: DEL after the namespace is gone, without CNI_NETNS, and GC take the host ports away", async () => {
    await node.add("gone", both(80));
    node.leave("gone");
    await node.cni.removePod("gone");
    expect((await node.cni.call("DEL", { containerId: "gone", netns: undefined })).status).toBe(0);
    expect(await node.elements()).toEqual([]);
    await node.add("stale", both(80));
    await node.cni.sweep();
    expect(await node.elements()).toEqual([]);
    expect(await node.ask("client", NODE4, 80)).toEqual(twice("refused"));
  });
});
