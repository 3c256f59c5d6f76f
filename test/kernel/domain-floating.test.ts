/** Floating IPs: who comes from outside, who is seen there, what happens to flows when one moves, and when the gateway does. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { takeOver } from "../../src/agent/take-over.ts";
import { endedAddresses, type FloatingIp } from "../../src/domain/mod.ts";
import { formatIp, parseIp } from "../../src/net/mod.ts";
import { Inbox, sendDatagram } from "../support/datagrams.ts";
import { Talk } from "../support/domain-world.ts";
import { gatewayOf, GatewayWorld, NODES, WORLD } from "../support/gateway-world.ts";
import { Answerer, askTcp, askUdp } from "../support/port-traffic.ts";
import { lacksTool, notRoot } from "../support/scratch.ts";
import { sourcesOf } from "../support/sources.ts";

setDefaultTimeout(15_000);
const cannot = notRoot ?? lacksTool("nft");
const suffix = cannot === undefined ? "" : ` (skipped: ${cannot})`;

const OUT4 = "198.51.100.7";
const OUT6 = "2001:db8:1::7";

function floating(domain: number, outside: string, inside: string): FloatingIp {
  return { name: `at-${outside}`, domain, outside: parseIp(outside), inside: parseIp(inside) };
}

const first = [floating(300, OUT4, "10.0.0.5"), floating(300, OUT6, "fd00::5")];

describe.skipIf(cannot !== undefined)(`domains: floating IPs${suffix}`, () => {
  let lab: GatewayWorld;
  let world: Inbox;
  const listeners: Disposable[] = [];

  beforeAll(async () => {
    lab = new GatewayWorld();
    for (const vni of [300, 400]) {
      lab.tenant(vni);
      lab.serve(gatewayOf(vni));
    }
    lab.serve(gatewayOf(300), first);
    lab.pod("other", { domain: "far-300", bridge: "br0", addresses: ["10.0.0.6/24", "fd00::6/64"] });
    for (const pod of ["pod-300", "pod-400", "other", "world"])
      listeners.push(await Answerer.open(lab.netns(pod), pod, [80]));
    world = await Inbox.open(lab.netns("world"), [["::", 9000]]);
    listeners.push(world);
  });
  afterAll(() => {
    for (const one of listeners) one[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  const ask = async (place: string, to: string) => {
    const question = { from: lab.netns(place), to, port: 80 };
    return [await askTcp(question), await askUdp(question)];
  };
  const twice = (text: string) => [text, text];

  /** What agents do when floating IPs change: new objects, and an end to the flows of the old ones. */
  function change(before: readonly FloatingIp[], after: readonly FloatingIp[]): void {
    const ended = endedAddresses(before, after);
    for (const vni of [300, 400])
      lab.serve(
        gatewayOf(vni),
        after.filter(({ domain }) => domain === vni),
      );
    for (const place of ["one", "two", "one-300", "two-300", "one-400", "two-400"]) lab.forget(place, ended);
  }

  test("who comes from outside is seen as who they are, and the pod answers as its outside address", async () => {
    using sources = sourcesOf(lab, "world", "lan");
    expect(await ask("world", OUT4)).toEqual(twice(`pod-300 sees ${WORLD[4]}`));
    expect(await ask("world", OUT6)).toEqual(twice(`pod-300 sees ${WORLD[6]}`));
    expect(sources.seen()).toEqual(["192.0.2.9", OUT4, OUT6, "2001:db8::9"].sort());
  });

  test("what the pod begins leaves under its outside address; its neighbours' does not", async () => {
    expect(await ask("pod-300", WORLD[4])).toEqual(twice(`world sees ${OUT4}`));
    expect(await ask("pod-300", WORLD[6])).toEqual(twice(`world sees ${OUT6}`));
    expect(await ask("other", WORLD[4])).toEqual(twice("world sees 192.0.2.1"));
    expect(await ask("pod-400", WORLD[4])).toEqual(twice("world sees 192.0.2.1"));
  });

  test("other tenants, neighbours, the node and the pod itself reach it by its outside address", async () => {
    expect(await ask("pod-400", OUT4)).toEqual(twice("pod-300 sees 240.0.2.89"));
    expect(await ask("other", OUT4)).toEqual(twice("pod-300 sees 240.0.2.89"));
    expect(await ask("pod-300", OUT4)).toEqual(twice(`pod-300 sees ${OUT4}`));
    expect(await ask("one", OUT4)).toEqual(twice("pod-300 sees 240.0.2.89"));
    expect(await ask("pod-400", OUT6)).toEqual(twice("pod-300 sees fd63:6175:7365:7761::259"));
  });

  test("a ping that is too big is told so by the outside address, not by one of the inside", async () => {
    lab.run("far-300", "ip link set one mtu 1300");
    lab.run("one-300", "ip link set fabric mtu 1300");
    using sources = sourcesOf(lab, "world", "lan");
    expect(() => lab.run("world", `ping -c 1 -W 1 -M do -s 1350 ${OUT4}`)).toThrow();
    const cached = lab.run("world", `ip route get ${OUT4}`);
    expect(cached).toContain("mtu 1300");
    expect(sources.seen().filter((one) => !["192.0.2.9", OUT4].includes(one))).toEqual([]);
    lab.run("far-300", "ip link set one mtu 1500");
    lab.run("one-300", "ip link set fabric mtu 1500");
    lab.run("world", "ip route flush cache");
  });

  test("one that goes to another pod takes its flows away from the first, running ones too", async () => {
    const after = [floating(300, OUT4, "10.0.0.6"), floating(300, OUT6, "fd00::6")];
    using pod = Talk.listen(lab.netns("pod-300"), 8001);
    using inbox = await Inbox.open(lab.netns("pod-300"), [["::", 9000]]);
    using other = await Inbox.open(lab.netns("other"), [["::", 9000]]);
    using talk = await Talk.connect(lab.netns("world"), { to: OUT4, port: 8001 });
    const flow = { from: WORLD[4], fromPort: 5000, to: OUT4, port: 9000 };
    talk.say("before");
    await talk.until("before");
    sendDatagram(lab.netns("world"), { ...flow, text: "before" });
    await inbox.until("before");
    change(first, after);
    talk.say("after");
    sendDatagram(lab.netns("world"), { ...flow, text: "after" });
    await other.until("after");
    sendDatagram(lab.netns("far-300"), { to: "10.0.0.5", port: 9000, text: "within" });
    await inbox.until("within");
    expect(pod.heard).toEqual(["before"]);
    expect(inbox.heard).toEqual(["before from 192.0.2.9", "within from 10.0.0.1"]);
    expect(await ask("world", OUT6)).toEqual(twice(`other sees ${WORLD[6]}`));
    expect(await ask("pod-300", WORLD[4])).toEqual(twice("world sees 192.0.2.1"));
    change(after, first);
    expect(await ask("world", OUT4)).toEqual(twice(`pod-300 sees ${WORLD[4]}`));
  });

  test("the rules alone end flows: those of one that is taken away do not go on, forgotten or not", async () => {
    using inbox = await Inbox.open(lab.netns("pod-300"), [["::", 9000]]);
    const flow = { from: WORLD[4], fromPort: 5001, to: OUT4, port: 9000 };
    sendDatagram(lab.netns("world"), { ...flow, text: "before" });
    await inbox.until("before");
    // The node still routes it, as one that has not heard of the change.
    lab.run("one", `ip route add ${OUT4} via 240.0.2.88 metric 77`);
    lab.serve(gatewayOf(300));
    lab.run("world", `ip route add ${OUT4} via 192.0.2.1`);
    sendDatagram(lab.netns("world"), { ...flow, text: "after" });
    sendDatagram(lab.netns("pod-300"), {
      from: "10.0.0.5",
      fromPort: 9001,
      to: WORLD[4],
      port: 9000,
      text: "out",
    });
    await world.until("out");
    sendDatagram(lab.netns("far-300"), { to: "10.0.0.5", port: 9000, text: "within" });
    await inbox.until("within");
    expect(inbox.heard).toEqual(["before from 192.0.2.9", "within from 10.0.0.1"]);
    lab.run("one", `ip route del ${OUT4} metric 77`);
    lab.run("world", `ip route del ${OUT4}`);
    change([], first);
  });

  test("one that goes to another tenant at the same inside address", async () => {
    const after = [floating(400, OUT4, "10.0.0.5")];
    change(first, after);
    expect(await ask("world", OUT4)).toEqual(twice(`pod-400 sees ${WORLD[4]}`));
    expect(await ask("pod-300", WORLD[4])).toEqual(twice("world sees 192.0.2.1"));
    expect(await ask("pod-400", WORLD[4])).toEqual(twice(`world sees ${OUT4}`));
    change(after, first);
  });

  test("two of one pod: both lead in, the lower one leads out", async () => {
    const both = [...first, floating(300, "198.51.100.3", "10.0.0.5")];
    change(first, both);
    expect(await ask("world", OUT4)).toEqual(twice(`pod-300 sees ${WORLD[4]}`));
    expect(await ask("world", "198.51.100.3")).toEqual(twice(`pod-300 sees ${WORLD[4]}`));
    expect(await ask("pod-300", WORLD[4])).toEqual(twice("world sees 198.51.100.3"));
    change(both, first);
  });

  test("the live gateway node answers for an address of the LAN that it is on", async () => {
    const lan = [floating(300, "192.0.2.77", "10.0.0.5"), floating(300, "2001:db8::77", "fd00::5")];
    change(first, lan);
    const owner = (address: string) => {
      const [entry] = lab.json("world", `ip -j neighbour show ${address} dev lan`);
      return NODES.find((node) => lab.json(node, "ip -j link show eth0")[0].address === entry?.lladdr);
    };
    for (const to of ["192.0.2.77", "2001:db8::77"]) {
      expect(await ask("world", to)).toEqual(twice(`pod-300 sees ${WORLD[to.includes(":") ? 6 : 4]}`));
      expect(owner(to)).toBe("one");
    }
    lab.run("one", "ip link set eth0 down");
    lab.die("one");
    // What the neighbours knew is overwritten as soon as the second node says so.
    const known = lan.map(({ outside }) => outside);
    lab.run("world", "sysctl -qw net.ipv4.neigh.lan.locktime=0");
    expect(lan.map(({ outside }) => owner(formatIp(outside)))).toEqual(["one", "one"]);
    takeOver({ netns: lab.netns("two"), links: ["none", "eth0"], addresses: known });
    expect(lan.map(({ outside }) => owner(formatIp(outside)))).toEqual(["two", "two"]);
    for (const to of ["192.0.2.77", "2001:db8::77"]) {
      expect(await ask("world", to)).toEqual(twice(`pod-300 sees ${WORLD[to.includes(":") ? 6 : 4]}`));
      expect(owner(to)).toBe("two");
    }
    lab.run("one", "ip link set eth0 up");
    lab.address("one", "eth0", "2001:db8::1/64");
    lab.live("one");
    expect(lab.run("two", "ip neighbour show proxy").trim()).toBe("");
    change(lan, first);
    expect(lab.run("one", "ip neighbour show proxy").includes("192.0.2.77")).toBe(false);
  });

  test("the second gateway node has it when the first is gone; a running connection goes on there", async () => {
    using pod = Talk.listen(lab.netns("pod-300"), 8002);
    using talk = await Talk.connect(lab.netns("world"), { to: OUT4, port: 8002 });
    talk.say("before");
    await talk.until("before");
    lab.run("one", "ip link set eth0 down");
    lab.die("one");
    talk.say("after");
    await talk.until("after");
    expect(pod.heard).toEqual(["before", "after"]);
    expect(await ask("world", OUT4)).toEqual(twice(`pod-300 sees ${WORLD[4]}`));
    expect(lab.run("two", "ip route").includes(OUT4)).toBe(true);
    lab.run("one", "ip link set eth0 up");
    lab.live("one");
    expect(NODES.map((node) => lab.run(node, "ip route").includes(OUT4))).toEqual([true, false]);
  });
});
