/** NAT gateways: two tenants with the same addresses, two gateway nodes, and a world outside that sees outside addresses only. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { parseIp, parsePrefix } from "../../src/net/mod.ts";
import { Inbox, sendDatagram } from "../support/datagrams.ts";
import { Talk } from "../support/domain-world.ts";
import { gatewayOf, GatewayWorld, WORLD } from "../support/gateway-world.ts";
import { Answerer, askTcp, askUdp } from "../support/port-traffic.ts";
import { lacksTool, notRoot } from "../support/scratch.ts";
import { sourcesOf } from "../support/sources.ts";

setDefaultTimeout(15_000);
const cannot = notRoot ?? lacksTool("nft");
const suffix = cannot === undefined ? "" : ` (skipped: ${cannot})`;

describe.skipIf(cannot !== undefined)(`domains: NAT gateways${suffix}`, () => {
  let lab: GatewayWorld;
  let inbox: Inbox;
  let answerer: Answerer;

  beforeAll(async () => {
    lab = new GatewayWorld();
    for (const vni of [300, 400]) {
      lab.tenant(vni);
      lab.serve(gatewayOf(vni));
    }
    inbox = await Inbox.open(lab.netns("world"), [
      ["0.0.0.0", 9000],
      ["::", 9001],
    ]);
    answerer = await Answerer.open(lab.netns("world"), "world", [80]);
  });
  afterAll(() => {
    inbox?.[Symbol.dispose]();
    answerer?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  /** Says something in both families, and returns what the world heard of it. */
  async function say(pod: string, text: string): Promise<string[]> {
    inbox.heard.length = 0;
    sendDatagram(lab.netns(pod), { to: WORLD[4], port: 9000, text });
    sendDatagram(lab.netns(pod), { to: WORLD[6], port: 9001, text: `${text}6` });
    await Promise.all([inbox.until(text), inbox.until(`${text}6`)]);
    return [...inbox.heard].sort();
  }

  test("without outside addresses of its own a tenant is seen as the gateway node; answers reach who asked", async () => {
    using sources = sourcesOf(lab, "world", "lan");
    for (const vni of [300, 400]) {
      const from = lab.netns(`pod-${vni}`);
      expect(await say(`pod-${vni}`, "hello")).toEqual(["hello from 192.0.2.1", "hello6 from 2001:db8::1"]);
      expect(await askTcp({ from, to: WORLD[4], port: 80 })).toBe("world sees 192.0.2.1");
      expect(await askTcp({ from, to: WORLD[6], port: 80 })).toBe("world sees 2001:db8::1");
      expect(await askUdp({ from, to: WORLD[4], port: 80 })).toBe("world sees 192.0.2.1");
      expect(await askUdp({ from, to: WORLD[6], port: 80 })).toBe("world sees 2001:db8::1");
    }
    expect(sources.seen()).toEqual(["192.0.2.1", "192.0.2.9", "2001:db8::1", "2001:db8::9"]);
  });

  test("both tenants use the same ports of the same address at once", async () => {
    using there = Talk.listen(lab.netns("world"), 8001);
    for (const vni of [300, 400]) lab.run(`pod-${vni}`, "sysctl -qw net.ipv4.ip_local_port_range=7000\t7001");
    const talks = await Promise.all(
      [300, 400].map((vni) => Talk.connect(lab.netns(`pod-${vni}`), { to: WORLD[4], port: 8001 })),
    );
    for (const [index, talk] of talks.entries()) talk.say(`I am ${index}.`);
    for (const [index, talk] of talks.entries()) {
      await talk.until(`I am ${index}.`);
      expect(talk.heard.join("")).toBe(`I am ${index}.`);
      talk[Symbol.dispose]();
    }
    await there.until("I am 1.");
    for (const vni of [300, 400])
      lab.run(`pod-${vni}`, "sysctl -qw net.ipv4.ip_local_port_range=32768\t60999");
  });

  test("outside addresses of its own: the world sees those, one for a source; what nobody asked for is not let in", async () => {
    const externalAddresses = ["198.51.100.1", "198.51.100.2", "2001:db8:1::1"].map((text) => parseIp(text));
    lab.serve(gatewayOf(400, { externalAddresses }));
    lab.run("pod-400", "ip address add 10.0.0.6/24 dev eth0");
    const seen = new Set<string>();
    for (const from of ["10.0.0.5", "10.0.0.6"])
      for (const text of ["a", "b", "c"]) {
        inbox.heard.length = 0;
        sendDatagram(lab.netns("pod-400"), { from, to: WORLD[4], port: 9000, text });
        await inbox.until(text);
        seen.add(`${from}: ${inbox.heard}`.replace(/: . from/, " is"));
      }
    expect([...seen]).toHaveLength(2);
    expect([...seen].map((text) => text.replace(/.$/, "?"))).toEqual([
      "10.0.0.5 is 198.51.100.?",
      "10.0.0.6 is 198.51.100.?",
    ]);
    expect((await say("pod-400", "hello")).at(-1)).toBe("hello6 from 2001:db8:1::1");
    // Who sends to such an address without being asked reaches neither pod nor node.
    using pod = await Inbox.open(lab.netns("pod-400"), [["::", 9000]]);
    using node = await Inbox.open(lab.netns("one"), [["::", 9000]]);
    for (const to of ["198.51.100.1", "2001:db8:1::1"])
      sendDatagram(lab.netns("world"), { to, port: 9000, text: "unasked" });
    sendDatagram(lab.netns("world"), { to: "192.0.2.1", port: 9000, text: "to the node" });
    await node.until("to the node");
    sendDatagram(lab.netns("far-400"), { to: "10.0.0.5", port: 9000, text: "within" });
    await pod.until("within");
    expect([...node.heard, ...pod.heard]).toEqual(["to the node from 192.0.2.9", "within from 10.0.0.1"]);
    lab.serve(gatewayOf(400));
  });

  test("a tenant reaches neither the gateway node, nor the mesh, nor pods of the default network, nor a cloud's secrets", async () => {
    lab.cable([
      ["one", "cw0", "10.90.0.1/24", "fd90::1/64"],
      ["mesh", "cw0", "10.90.0.2/24", "fd90::2/64"],
    ]);
    lab.run("mesh", "ip route add default via 10.90.0.1");
    lab.run("mesh", "ip -6 route add default via fd90::1");
    lab.run("one", "ip route add 169.254.169.254 via 192.0.2.9");
    lab.run("world", "ip address add 169.254.169.254/32 dev lan");
    using mesh = await Inbox.open(lab.netns("mesh"), [["::", 9000]]);
    using node = await Inbox.open(lab.netns("one"), [["::", 9000]]);
    inbox.heard.length = 0;
    const from = lab.netns("pod-300");
    for (const to of [
      "192.0.2.1",
      "2001:db8::1",
      "10.90.0.1",
      "fd90::1",
      "10.90.0.2",
      "fd90::2",
      "169.254.169.254",
    ])
      sendDatagram(from, { to, port: 9000, text: `to ${to}` });
    sendDatagram(from, { to: WORLD[4], port: 9000, text: "allowed" });
    sendDatagram(from, { to: WORLD[6], port: 9001, text: "allowed6" });
    await Promise.all([inbox.until("allowed"), inbox.until("allowed6")]);
    sendDatagram(lab.netns("mesh"), { to: "10.90.0.1", port: 9000, text: "from the mesh" });
    await node.until("from the mesh");
    sendDatagram(lab.netns("one"), { to: "10.90.0.2", port: 9000, text: "from the node" });
    await mesh.until("from the node");
    expect([...node.heard, ...mesh.heard, ...inbox.heard].sort()).toEqual([
      "allowed from 192.0.2.1",
      "allowed6 from 2001:db8::1",
      "from the mesh from 10.90.0.2",
      "from the node from 10.90.0.1",
    ]);
  });

  test("only the gateway's prefixes are let out", async () => {
    lab.serve(gatewayOf(300, { prefixes: [parsePrefix("10.0.0.5/32")] }));
    lab.run("pod-300", "ip address add 10.0.0.6/24 dev eth0");
    inbox.heard.length = 0;
    for (const from of ["10.0.0.6", "10.0.0.5"])
      sendDatagram(lab.netns("pod-300"), { from, to: WORLD[4], port: 9000, text: `from ${from}` });
    await inbox.until("from 10.0.0.5");
    expect(inbox.heard).toEqual(["from 10.0.0.5 from 192.0.2.1"]);
    lab.serve(gatewayOf(300));
  });

  test("packets of no flow do not get out with a tenant's address", async () => {
    using sources = sourcesOf(lab, "world", "lan");
    // A fragment that is never complete, and a TCP segment that fits no connection.
    lab.run("pod-300", "ping -c 1 -W 0.1 -s 3000 192.0.2.9");
    await say("pod-300", "after");
    expect(sources.seen().filter((one) => one.startsWith("10.") || one.startsWith("24"))).toEqual([]);
  });

  test("the second node takes over when the first is gone, and gives back when it returns", async () => {
    expect(await say("pod-300", "before")).toEqual(["before from 192.0.2.1", "before6 from 2001:db8::1"]);
    lab.run("one", "ip link set eth0 down");
    lab.die("one");
    expect(await say("pod-300", "without")).toEqual(["without from 192.0.2.2", "without6 from 2001:db8::2"]);
    expect(await askTcp({ from: lab.netns("pod-300"), to: WORLD[4], port: 80 })).toBe("world sees 192.0.2.2");
    lab.run("one", "ip link set eth0 up");
    lab.address("one", "eth0", "2001:db8::1/64");
    lab.live("one");
    expect(await say("pod-300", "again")).toEqual(["again from 192.0.2.1", "again6 from 2001:db8::1"]);
  });

  test("a pod at the standing-by node leaves by the live one", async () => {
    lab.bridge("two-300", "br0", "10.0.1.1/24");
    lab.pod("near", { domain: "two-300", bridge: "br0", addresses: ["10.0.1.5/24"] });
    lab.serve(gatewayOf(300, { prefixes: [parsePrefix("10.0.0.0/16"), parsePrefix("fd00::/64")] }));
    lab.run("one-300", "ip route add 10.0.1.0/24 via 10.255.9.2");
    inbox.heard.length = 0;
    sendDatagram(lab.netns("near"), { to: WORLD[4], port: 9000, text: "near" });
    await inbox.until("near");
    expect(inbox.heard).toEqual(["near from 192.0.2.1"]);
    lab.die("one");
    sendDatagram(lab.netns("near"), { to: WORLD[4], port: 9000, text: "alone" });
    await inbox.until("alone");
    expect(inbox.heard.at(-1)).toBe("alone from 192.0.2.2");
    lab.live("one");
  });

  test("nothing stays of a gateway that is removed", () => {
    lab.withdraw(400);
    expect(lab.run("one-400", "ip -br link").includes("cwn")).toBe(false);
    expect(lab.run("one", "ip -br link").includes("cwn400")).toBe(false);
    expect(lab.run("one", "nft list set inet causeway leg_source4").includes("cwn400")).toBe(false);
    expect(lab.run("one-400", "nft list tables").trim()).toBe("");
  });
});
