/** Services of domains on hosts with the whole data plane: VXLAN between them, BGP left out. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { takeOver } from "../../src/agent/take-over.ts";
import type { NatGateway } from "../../src/domain/mod.ts";
import { until } from "../../src/lab/mod.ts";
import { formatIp, parseIp, parsePrefix } from "../../src/net/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { Inbox, sendDatagram } from "../support/datagrams.ts";
import { pings, segment, vpc } from "../support/domain-lab.ts";
import { Voice } from "../support/domain-world.ts";
import { Answerer, askTcp } from "../support/port-traffic.ts";
import { notRoot } from "../support/scratch.ts";
import { ServicesLab, WORLD } from "../support/services-lab.ts";

setDefaultTimeout(30_000);
const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

const net1 = segment("net1", 101, ["10.1.1.0/24", "fd00:1:1::/64"]);
const net2 = segment("net2", 102, ["10.1.2.0/24", "fd00:1:2::/64"]);
const blue = vpc("blue", 5000, [net1, net2]);
const out: NatGateway = {
  name: "out",
  domain: 5000,
  nodes: ["h1", "h2"],
  prefixes: [],
  externalAddresses: [],
};
const ANY = { protocol: "any", ports: [], prefixes: [], groups: [] } as const;

describe.skipIf(notRoot !== undefined)(`domains: services on hosts${suffix}`, () => {
  test("a pod on a third host reaches the world by the first gateway node, then by the second; nothing is left of it", async () => {
    using world = new ServicesLab();
    const { lab } = world;
    const [one, two, three] = [lab.host(1), lab.host(2), lab.host(3)];
    world.set({ domains: [blue], gateways: [out] });
    const pod = lab.pod(three, "a", {
      domain: blue,
      segment: net1,
      addresses: ["10.1.1.10", "fd00:1:1::10"],
    });
    using _answerer = await Answerer.open(world.world, "world", [80]);
    expect(await askTcp({ from: pod, to: WORLD[4], port: 80 })).toBe("world sees 192.0.2.1");
    expect(await askTcp({ from: pod, to: WORLD[6], port: 80 })).toBe("world sees fd00:2::1");
    // At the node that stands by it is the same.
    const near = lab.pod(two, "b", { domain: blue, segment: net2, addresses: ["10.1.2.10"] });
    expect(await askTcp({ from: near, to: WORLD[4], port: 80 })).toBe("world sees 192.0.2.1");
    world.die(one);
    expect(await askTcp({ from: pod, to: WORLD[4], port: 80 })).toBe("world sees 192.0.2.2");
    expect(await askTcp({ from: near, to: WORLD[4], port: 80 })).toBe("world sees 192.0.2.2");
    world.set({ domains: [blue] });
    expect(pings(pod, WORLD[4])).toBe(false);
    lab.remove(two, "b");
    lab.remove(three, "a");
    expect([two, three].map((host) => host.text("ip -br link").includes("cwn"))).toEqual([false, false]);
    expect(two.domains.active()).toEqual({ domains: [], segments: [] });
    expect(world.problems()).toEqual([]);
  });

  test("a floating IP follows the live gateway, and goes to another pod when it is told to", async () => {
    using world = new ServicesLab();
    const { lab } = world;
    const [one, three] = [lab.host(1), lab.host(3)];
    const at = (inside: string) => [
      { name: "web", domain: 5000, outside: parseIp("198.51.100.7"), inside: parseIp(inside) },
    ];
    world.set({ domains: [blue], gateways: [out], floating: at("10.1.1.10") });
    const pods = ["10.1.1.10", "10.1.1.11"].map((address) =>
      lab.pod(three, address, { domain: blue, segment: net1, addresses: [address] }),
    );
    const [a, b] = pods as [(typeof pods)[0], (typeof pods)[0]];
    using _first = await Answerer.open(a, "a", [80]);
    using _second = await Answerer.open(b, "b", [80]);
    expect(world.outsideAt()).toEqual(new Map([["198.51.100.7", "h1"]]));
    const ask = () => askTcp({ from: world.world, to: "198.51.100.7", port: 80 });
    expect(await ask()).toBe(`a sees ${WORLD[4]}`);
    world.set({ domains: [blue], gateways: [out], floating: at("10.1.1.11") });
    expect(await ask()).toBe(`b sees ${WORLD[4]}`);
    world.die(one);
    expect(world.outsideAt()).toEqual(new Map([["198.51.100.7", "h2"]]));
    expect(await ask()).toBe(`b sees ${WORLD[4]}`);
    expect(world.problems()).toEqual([]);
  });

  test("a flow goes on by the node that takes over, and by the first again, also of a pod that is there", async () => {
    using world = new ServicesLab();
    const { lab } = world;
    const [one, two, three] = [lab.host(1), lab.host(2), lab.host(3)];
    world.set({ domains: [blue], gateways: [out] });
    using inbox = await Inbox.open(world.world, [["::", 9000]]);
    const pods = [two, three].map((host, i) =>
      lab.pod(host, `p${i}`, { domain: blue, segment: net1, addresses: [`10.1.1.1${i}`] }),
    );
    const send = async (what: string, address: string) => {
      for (const [i, pod] of pods.entries()) {
        const text = `${what}${i}`;
        sendDatagram(pod, { from: `10.1.1.1${i}`, fromPort: 7000, to: WORLD[4], port: 9000, text });
        await inbox.until(text);
        expect(inbox.heard.at(-1)).toBe(`${text} from ${address}`);
      }
    };
    await send("first", "192.0.2.1");
    world.die(one);
    await send("second", "192.0.2.2");
    world.live(one);
    await send("third", "192.0.2.1");
    expect(world.problems()).toEqual([]);
  });

  test("a gateway's agent begins anew: translated flows go on, also where the world speaks first", async () => {
    using world = new ServicesLab(2);
    const { lab } = world;
    const [one, two] = [lab.host(1), lab.host(2)];
    world.set({ domains: [blue], gateways: [out] });
    const pods = [one, two].map((host, i) =>
      lab.pod(host, `p${i}`, { domain: blue, segment: net1, addresses: [`10.1.1.1${i}`] }),
    );
    using there = await Voice.open(world.world, WORLD[4], 9000);
    using a = await Voice.open(pods[0] as Netns, "10.1.1.10", 7000);
    using b = await Voice.open(pods[1] as Netns, "10.1.1.11", 7001);
    a.say(there, "a");
    await there.until("a");
    b.say(there, "b");
    await there.until("b");
    for (const restarted of [one, two]) {
      world.restart(restarted);
      for (const when of ["before", "after"]) {
        for (const [voice, port] of [
          [a, 7000],
          [b, 7001],
        ] as const) {
          const text = `${restarted.name} ${when} ${port}`;
          there.say({ address: "192.0.2.1", port }, text);
          await voice.until(text);
        }
        // Now it hears of the other gateway.
        lab.sync();
      }
    }
    expect(world.problems()).toEqual([]);
  });

  test("a gateway's agent begins anew: its pods are not without their groups for a moment", async () => {
    using world = new ServicesLab(2);
    const { lab } = world;
    const one = lab.host(1);
    const groups = [{ name: "asks", rules: [{ ...ANY, direction: "egress" as const }] }];
    world.groupsAt.set("10.1.1.10", ["asks"]);
    world.set({ domains: [blue], gateways: [out], groups });
    const guarded = lab.pod(one, "a", { domain: blue, segment: net1, addresses: ["10.1.1.10"] });
    const free = lab.pod(one, "b", { domain: blue, segment: net1, addresses: ["10.1.1.11"] });
    using inbox = await Inbox.open(guarded, [
      ["::", 80],
      ["::", 9999],
    ]);
    const chains = () => one.text("nft list chains inet", blue.vni);
    const before = chains();
    expect(before).toContain("forward");
    world.restart(one);
    expect(chains()).toBe(before);
    sendDatagram(free, { to: "10.1.1.10", port: 80, text: "refused" });
    sendDatagram(guarded, { to: "10.1.1.10", port: 9999, text: "the end" });
    await inbox.until("the end");
    expect(inbox.heard.map((text) => text.split(" from ")[0])).toEqual(["the end"]);
    expect(world.problems()).toEqual([]);
  });

  test("a node that stands by and begins anew takes no outside address over before it has heard who has it", async () => {
    using world = new ServicesLab(2);
    const { lab } = world;
    const [one, two] = [lab.host(1), lab.host(2)];
    const outside = "192.0.2.77";
    const floating = [{ name: "web", domain: 5000, outside: parseIp(outside), inside: parseIp("10.1.1.10") }];
    world.set({ domains: [blue], gateways: [out], floating });
    const pod = lab.pod(two, "a", { domain: blue, segment: net1, addresses: ["10.1.1.10"] });
    using _answerer = await Answerer.open(pod, "a", [80]);
    expect(await askTcp({ from: world.world, to: outside, port: 80 })).toBe(`a sees ${WORLD[4]}`);
    lab.scratch.text("sysctl -qw net.ipv4.neigh.underlay.locktime=0");
    const owner = () =>
      lab.hosts.find((host) => {
        const [mac = ""] = /([0-9a-f]{2}:){5}[0-9a-f]{2}/.exec(host.text("ip -br link show nic")) ?? [];
        return lab.scratch.text(`ip neighbour show ${outside}`).includes(mac);
      })?.name;
    expect(owner()).toBe("h1");
    world.restart(two);
    expect(owner()).toBe("h1");
    lab.sync();
    expect(owner()).toBe("h1");
    world.die(one);
    expect(owner()).toBe("h2");
    world.live(one);
    expect(owner()).toBe("h1");
    takeOver({ netns: two.netns, links: ["nic"], addresses: [parseIp(outside)] });
    world.restart(one);
    expect(owner()).toBe("h2");
    // All was heard that there is.
    world.services.get(one)?.settled([]);
    expect(owner()).toBe("h1");
    expect(world.problems()).toEqual([]);
  });

  test("what a node that stood by said before it had heard of the gateway, neighbours believe for seconds only", async () => {
    using world = new ServicesLab(2);
    const { lab } = world;
    const [one, two] = [lab.host(1), lab.host(2)];
    const outside = parseIp("192.0.2.77");
    world.set({ domains: [blue], gateways: [{ ...out, externalAddresses: [outside] }] });
    const pod = lab.pod(one, "a", { domain: blue, segment: net1, addresses: ["10.1.1.10"] });
    expect(pings(pod, WORLD[4])).toBe(true);
    const owner = () => {
      const [entry] = lab.scratch.json(`ip -j neighbour show ${formatIp(outside)} dev underlay`);
      const { lladdr = "nobody's" } = entry ?? {};
      return lab.hosts.find((host) => host.text("ip -br link show nic").includes(lladdr))?.name ?? "nobody";
    };
    const isBelievedUntil = async (truth: () => void) => {
      takeOver({ netns: two.netns, links: ["nic"], addresses: [outside] });
      expect(owner()).toBe("h2");
      truth();
      const missing = () => {
        const is = owner();
        return is === "h1" ? undefined : is;
      };
      await until(missing, { what: "h1 to be believed", deadlineMs: 25_000 });
    };
    // It is said again twice, and whenever something is heard of another gateway node.
    await isBelievedUntil(() => world.services.get(one)?.settled([]));
    await isBelievedUntil(() => {});
    await isBelievedUntil(() => world.die(two));
    expect(world.problems()).toEqual([]);
  });

  test("a node that is a gateway no more: running flows of its pods go on by the next one, and answers come", async () => {
    using world = new ServicesLab(2);
    const { lab } = world;
    const groups = [{ name: "asks", rules: [{ ...ANY, direction: "egress" as const }] }];
    world.groupsAt.set("10.1.1.10", ["asks"]);
    world.set({ domains: [blue], gateways: [out], groups });
    const netns = lab.pod(lab.host(1), "a", { domain: blue, segment: net1, addresses: ["10.1.1.10"] });
    using there = await Voice.open(world.world, WORLD[4], 9000);
    using pod = await Voice.open(netns, "10.1.1.10", 7000);
    for (const [nodes, seenAs] of [
      [["h1", "h2"], "192.0.2.1"],
      [["h2"], "192.0.2.2"],
      [["h1", "h2"], "192.0.2.1"],
    ] as const) {
      world.set({ domains: [blue], gateways: [{ ...out, nodes }], groups });
      const text = `by ${nodes.join()}, as ${seenAs}`;
      pod.say(there, text);
      await there.until(text);
      there.say({ address: seenAs, port: 7000 }, text);
      await pod.until(text);
      for (const { heard } of [there, pod]) heard.length = 0;
    }
    expect(world.problems()).toEqual([]);
  });

  test("a gateway that is seen as another address from now on: running flows do not stay with the former one", async () => {
    using world = new ServicesLab(2);
    const { lab } = world;
    const seenAs = (address: string) =>
      world.set({ domains: [blue], gateways: [{ ...out, externalAddresses: [parseIp(address)] }] });
    seenAs("198.51.100.1");
    const pod = lab.pod(lab.host(2), "a", { domain: blue, segment: net1, addresses: ["10.1.1.10"] });
    using inbox = await Inbox.open(world.world, [["::", 9000]]);
    const flow = { from: "10.1.1.10", fromPort: 7000, to: WORLD[4], port: 9000 };
    for (const [address, text] of [
      ["198.51.100.1", "first"],
      ["198.51.100.2", "second"],
      ["198.51.100.1", "third"],
    ] as const) {
      seenAs(address);
      sendDatagram(pod, { ...flow, text });
      await inbox.until(text);
      expect(inbox.heard.at(-1)).toBe(`${text} from ${address}`);
    }
    world.set({ domains: [blue], gateways: [out] });
    sendDatagram(pod, { ...flow, text: "fourth" });
    await inbox.until("fourth");
    expect(inbox.heard.at(-1)).toBe("fourth from 192.0.2.1");
    expect(world.problems()).toEqual([]);
  });

  test("peered domains reach each other, wherever their pods are; a third one does not", () => {
    using world = new ServicesLab();
    const { lab } = world;
    const red = segment("red", 201, ["10.2.1.0/24", "fd00:2:1::/64"]);
    const green = segment("green", 301, ["10.3.1.0/24"]);
    const reach = (vni: number, ...texts: string[]) => ({
      with: vni,
      prefixes: texts.map((one) => parsePrefix(one)),
    });
    const domains = [
      { ...blue, peerings: [reach(6000, "10.2.1.0/24", "fd00:2:1::/64")] },
      {
        ...vpc("red", 6000, [red]),
        peerings: [reach(5000, "10.1.0.0/16", "fd00:1::/32"), reach(7000, "10.3.1.0/24")],
      },
      { ...vpc("green", 7000, [green]), peerings: [reach(6000, "10.2.1.0/24")] },
    ];
    const [b, r, g] = domains as [(typeof domains)[0], (typeof domains)[0], (typeof domains)[0]];
    world.set({ domains });
    const pods: Record<string, ReturnType<typeof lab.pod>> = {};
    for (const [name, host, domain, net, addresses] of [
      ["b1", 1, b, net1, ["10.1.1.10", "fd00:1:1::10"]],
      ["b2", 2, b, net2, ["10.1.2.10", "fd00:1:2::10"]],
      ["r2", 2, r, red, ["10.2.1.10", "fd00:2:1::10"]],
      ["r3", 3, r, red, ["10.2.1.11", "fd00:2:1::11"]],
      ["g1", 1, g, green, ["10.3.1.10"]],
    ] as const)
      pods[name] = lab.pod(lab.host(host), name, { domain, segment: net, addresses });
    const from = (name: string, ...to: string[]) => to.map((one) => pings(pods[name] as never, one));
    expect(from("b1", "10.2.1.10", "10.2.1.11", "fd00:2:1::10", "fd00:2:1::11")).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(from("b2", "10.2.1.10", "10.2.1.11")).toEqual([true, true]);
    expect(from("r3", "10.1.1.10", "10.1.2.10", "fd00:1:1::10", "10.3.1.10")).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(from("g1", "10.2.1.10", "10.2.1.11", "10.1.1.10", "10.1.2.10")).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(world.problems()).toEqual([]);
    for (const [host, name] of [
      [1, "b1"],
      [2, "b2"],
      [2, "r2"],
      [3, "r3"],
      [1, "g1"],
    ] as const)
      lab.remove(lab.host(host), name);
    for (const host of lab.hosts) expect(host.domains.active()).toEqual({ domains: [], segments: [] });
    expect(world.problems()).toEqual([]);
  });

  test("security groups: rules are there with the pod, know members of other hosts, and end what they no longer allow", async () => {
    using world = new ServicesLab(2);
    const { lab } = world;
    const [one, two] = [lab.host(1), lab.host(2)];
    const groups = [
      {
        name: "db",
        rules: [{ direction: "ingress", protocol: "any", ports: [], prefixes: [], groups: ["web"] } as const],
      },
      {
        name: "web",
        rules: [{ direction: "egress", protocol: "any", ports: [], prefixes: [], groups: [] } as const],
      },
    ];
    world.groupsAt.set("10.1.1.10", ["db"]).set("10.1.2.11", ["web"]);
    world.set({ domains: [blue], groups });
    const db = lab.pod(one, "db", { domain: blue, segment: net1, addresses: ["10.1.1.10"] });
    const other = lab.pod(two, "other", { domain: blue, segment: net1, addresses: ["10.1.1.11"] });
    const web = lab.pod(two, "web", { domain: blue, segment: net2, addresses: ["10.1.2.11"] });
    using inbox = await Inbox.open(db, [["::", 9000]]);
    const say = (from: typeof db, text: string) => sendDatagram(from, { to: "10.1.1.10", port: 9000, text });
    say(other, "no");
    say(web, "yes");
    await inbox.until("yes");
    expect(inbox.heard).toEqual(["yes from 10.1.2.11"]);
    // A second member, on the host that was there first.
    world.groupsAt.set("10.1.2.12", ["web"]);
    const second = lab.pod(two, "second", { domain: blue, segment: net2, addresses: ["10.1.2.12"] });
    say(second, "me too");
    await inbox.until("me too");
    lab.remove(two, "second");
    inbox.heard.length = 0;
    say(web, "yes");
    await inbox.until("yes");
    world.set({
      domains: [blue],
      groups: groups.map(({ name, rules }) => ({ name, rules: name === "db" ? [] : rules })),
    });
    say(web, "meanwhile");
    world.set({ domains: [blue], groups });
    say(web, "again");
    await inbox.until("again");
    expect(inbox.heard).toEqual(["yes from 10.1.2.11", "again from 10.1.2.11"]);
    expect(one.text("sysctl -n net.bridge.bridge-nf-call-iptables", 5000).trim()).toBe("1");
    lab.remove(two, "web");
    expect(two.text("sysctl -n net.bridge.bridge-nf-call-iptables", 5000).trim()).toBe("0");
    expect(one.text("nft list set inet causeway group4-web", 5000)).not.toContain("elements");
    lab.remove(one, "db");
    expect(world.problems()).toEqual([]);
  });

  test("a kernel that does not show bridged packets to rules: who has groups is refused, and nothing is left of it", () => {
    using world = new ServicesLab(2);
    const { lab } = world;
    world.bridged = false;
    world.groupsAt.set("10.1.1.10", ["db"]);
    world.set({ domains: [blue], groups: [{ name: "db", rules: [] }] });
    const one = lab.host(1);
    const guarded = () => lab.pod(one, "a", { domain: blue, segment: net1, addresses: ["10.1.1.10"] });
    expect(guarded).toThrow(
      /^Cannot attach \S+: groups db: this kernel does not show bridged packets to their rules; load the module on this node: modprobe br_netfilter$/,
    );
    expect(one.domains.active()).toEqual({ domains: [], segments: [] });
    const plain = lab.pod(one, "b", { domain: blue, segment: net1, addresses: ["10.1.1.11"] });
    expect(guarded).toThrow("modprobe br_netfilter");
    expect(one.domains.attachments(5000).map(({ groups }) => groups)).toEqual([[]]);
    const other = lab.pod(lab.host(2), "c", { domain: blue, segment: net1, addresses: ["10.1.1.12"] });
    expect([pings(plain, "10.1.1.12"), pings(other, "10.1.1.10")]).toEqual([true, false]);
    expect(world.problems()).toEqual([]);
  });

  test("a pod speaks with its own addresses only", async () => {
    using world = new ServicesLab(2);
    const { lab } = world;
    world.set({ domains: [blue] });
    const a = lab.pod(lab.host(1), "a", { domain: blue, segment: net1, addresses: ["10.1.1.10"] });
    const b = lab.pod(lab.host(2), "b", { domain: blue, segment: net1, addresses: ["10.1.1.11"] });
    using inbox = await Inbox.open(b, [["::", 9000]]);
    lab.scratch.text("ip address add 10.1.1.66/24 dev eth0", a);
    sendDatagram(a, { from: "10.1.1.66", to: "10.1.1.11", port: 9000, text: "forged" });
    sendDatagram(a, { from: "10.1.1.10", to: "10.1.1.11", port: 9000, text: "honest" });
    await inbox.until("honest");
    expect(inbox.heard).toEqual(["honest from 10.1.1.10"]);
    expect(world.problems()).toEqual([]);
  });
});
