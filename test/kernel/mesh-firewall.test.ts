/** The mesh's nftables table, loaded in a namespace and judged by packets. Veths stand in for the tunnel and the pods' bridge. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { meshRuleset } from "../../src/mesh/mod.ts";
import { parseIp, parsePrefix, type PublicKey } from "../../src/net/mod.ts";
import { newMesh, type Node } from "../../src/resources/mod.ts";
import { type Netns, runSync } from "../../src/sys/mod.ts";
import { Inbox, sendDatagram } from "../support/datagrams.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

setDefaultTimeout(60_000);
const why = notRoot ?? lacksTool("nft") ?? lacksTool("ip");
const run = why === undefined ? test : test.skip;
const note = why === undefined ? "" : ` (skipped: ${why})`;

const mesh = newMesh("home", {
  endpoints: ["192.0.2.1:51820"],
  overlay6: "fd01:2:3::/64",
  exposedPorts: ["udp/30080", "tcp/6443"],
});

function self(hub: boolean): Node {
  return {
    name: "n",
    publicKey: "" as PublicKey,
    hub,
    overlay4: parseIp("10.90.0.2"),
    overlay6: parseIp("fd01:2:3::2"),
    pods4: parsePrefix("10.244.1.0/24"),
    pods6: parsePrefix("fd01:2:3:101::/64"),
    endpoints: [],
    local: [],
    observed: [],
    mapped: [],
    hubs: [],
  };
}

function load(netns: Netns, hub: boolean, check = false): string {
  const { text } = meshRuleset({ mesh, self: self(hub), listenPort: 51820 });
  const input = `table inet causeway {\n${text}}\n`;
  const done = runSync(["nft", ...(check ? ["-c"] : []), "-f", "-"], { netns, input });
  return done.stderr;
}

/** A node with the world on eth0, the tunnel on cw0, a pod on cw-pods. */
class Place implements Disposable {
  readonly scratch = new Scratch();
  readonly node = this.scratch.netns;
  readonly world = this.scratch.another();
  readonly tunnel = this.scratch.another();
  readonly pod = this.scratch.another();

  constructor(hub = false) {
    const ip = (netns: Netns, ...lines: string[]) => {
      for (const line of lines) this.scratch.text(line, netns);
    };
    for (const netns of [this.node, this.world, this.tunnel, this.pod])
      ip(
        netns,
        "ip link set lo up",
        "sysctl -qw net.ipv4.conf.all.rp_filter=0",
        "sysctl -qw net.ipv4.conf.default.rp_filter=0",
      );
    ip(this.node, "sysctl -qw net.ipv4.ip_forward=1", "sysctl -qw net.ipv6.conf.all.forwarding=1");
    for (const [name, netns] of [
      ["eth0", this.world],
      ["cw0", this.tunnel],
      ["cw-pods", this.pod],
    ] as const) {
      ip(this.node, `ip link add ${name} type veth peer name far`);
      netns.run(() => {});
      runSync(["ip", "link", "set", "far", "netns", `/proc/${process.pid}/fd/${netns.fd.number}`], {
        netns: this.node,
      });
      ip(this.node, `ip link set ${name} up`);
      ip(netns, "ip link set far name eth0", "ip link set eth0 up");
    }
    ip(
      this.node,
      "ip addr add 192.0.2.1/24 dev eth0",
      "ip addr add 2001:db8::1/64 dev eth0 nodad",
      "ip addr add 10.90.0.2/32 dev cw0",
      "ip addr add fd01:2:3::2/128 dev cw0 nodad",
      "ip addr add 10.244.1.1/24 dev cw-pods",
      "ip addr add fd01:2:3:101::1/64 dev cw-pods nodad",
      "ip route add 10.90.0.0/16 dev cw0",
      "ip route add 10.244.0.0/16 dev cw0",
      "ip -6 route add fd01:2:3::/64 dev cw0",
      "ip -6 route add fd01:2:3:100::/56 dev cw0",
      "ip route add default via 192.0.2.9",
      "ip -6 route add default via 2001:db8::9",
    );
    if (hub)
      ip(this.node, "ip addr add fd01:2:3:1::1/128 dev cw0 nodad", "ip -6 route add fd01:2:3:1::/64 dev cw0");
    ip(
      this.world,
      "ip addr add 192.0.2.9/24 dev eth0",
      "ip addr add 2001:db8::9/64 dev eth0 nodad",
      "ip addr add 10.96.0.10/32 dev lo",
      // Addresses that it has no right to.
      "ip addr add 10.90.0.7/32 dev lo",
      "ip addr add 10.244.2.7/32 dev lo",
      "ip -6 addr add fd01:2:3::7/128 dev lo nodad",
      "ip -6 addr add fd01:2:3:102::7/128 dev lo nodad",
      "ip route add default via 192.0.2.1",
      "ip -6 route add default via 2001:db8::1",
    );
    ip(
      this.tunnel,
      "ip addr add 10.90.0.3/32 dev eth0",
      "ip addr add 10.244.2.5/32 dev eth0",
      "ip addr add 10.244.1.77/32 dev lo",
      "ip addr add fd01:2:3::3/128 dev eth0 nodad",
      "ip addr add fd01:2:3:102::5/128 dev eth0 nodad",
      "ip addr add fd01:2:3:1::abcd/128 dev eth0 nodad",
      "ip route add default dev eth0",
      "ip -6 route add default dev eth0",
    );
    ip(
      this.pod,
      "ip addr add 10.244.1.5/24 dev eth0",
      "ip addr add 10.244.9.9/32 dev lo",
      "ip addr add fd01:2:3:101::5/64 dev eth0 nodad",
      "ip route add default via 10.244.1.1",
      "ip -6 route add default via fd01:2:3:101::1",
    );
    expect(load(this.node, hub)).toBe("");
    if (hub) this.#knowEachOther();
  }

  /** A tunnel has no neighbours to ask for; the veth that stands for it does, and a newcomer's asking would be dropped. */
  #knowEachOther(): void {
    const mac = (netns: Netns, link: string) =>
      this.scratch.json(`ip -j link show ${link}`, netns)[0].address as string;
    for (const address of ["fd01:2:3:1::1", "fd01:2:3::2", "fd01:2:3:101::5"])
      this.scratch.text(
        `ip neigh add ${address} lladdr ${mac(this.node, "cw0")} dev eth0 nud permanent`,
        this.tunnel,
      );
    for (const address of ["fd01:2:3:1::abcd", "fd01:2:3::3"])
      this.scratch.text(
        `ip neigh add ${address} lladdr ${mac(this.tunnel, "eth0")} dev cw0 nud permanent`,
        this.node,
      );
  }

  [Symbol.dispose](): void {
    this.scratch[Symbol.dispose]();
  }
}

describe("the mesh's firewall", () => {
  for (const hub of [true, false])
    run(`nft takes the table of a ${hub ? "hub" : "node"}, twice${note}`, () => {
      using scratch = new Scratch();
      expect(load(scratch.netns, hub, true)).toBe("");
      expect(load(scratch.netns, hub)).toBe("");
      expect(scratch.text("nft list chain inet causeway postrouting")).toContain("masquerade");
    });

  run(`masquerades for the world only${note}`, async () => {
    using place = new Place();
    using world = await Inbox.open(place.world, [
      ["0.0.0.0", 9],
      ["::", 10],
    ]);
    using tunnel = await Inbox.open(place.tunnel, [
      ["0.0.0.0", 9],
      ["::", 10],
    ]);
    const from = "10.244.1.5";
    const from6 = "fd01:2:3:101::5";
    sendDatagram(place.pod, { from, to: "192.0.2.9", port: 9, text: "world" });
    sendDatagram(place.pod, { from, to: "10.96.0.10", port: 9, text: "service" });
    sendDatagram(place.pod, { from, to: "10.90.0.3", port: 9, text: "overlay" });
    sendDatagram(place.pod, { from, to: "10.244.2.5", port: 9, text: "remote-pod" });
    sendDatagram(place.pod, { from: from6, to: "2001:db8::9", port: 10, text: "world6" });
    sendDatagram(place.pod, { from: from6, to: "fd01:2:3::3", port: 10, text: "overlay6" });
    sendDatagram(place.pod, { from: from6, to: "fd01:2:3:102::5", port: 10, text: "remote-pod6" });
    // Multicast of a pod ends at the bridge; what the node itself sends out under the bridge's address keeps that.
    const [group, group6] = ["239.1.2.3", "ff0e::1234"];
    for (const address of [`${group}/32`, `${group6}/128`])
      place.scratch.text(`ip addr add ${address} dev eth0 autojoin`, place.world);
    place.scratch.text(`ip -6 route add multicast ${group6}/128 dev eth0 table local`, place.node);
    const sent = [
      sendDatagram(place.pod, { from, to: group, port: 9, text: "pod-group" }),
      sendDatagram(place.pod, { from: from6, to: group6, port: 10, text: "pod-group6" }),
      sendDatagram(place.node, { from: "fd01:2:3:101::1", to: group6, port: 10, text: "group6" }),
    ];
    expect(sent).toEqual([true, true, true]);
    await world.until("group6");
    await Promise.all([world.until("world"), world.until("service"), world.until("world6")]);
    await Promise.all(["overlay", "remote-pod", "overlay6", "remote-pod6"].map((text) => tunnel.until(text)));
    expect(world.heard.sort()).toEqual([
      "group6 from fd01:2:3:101::1",
      "service from 10.244.1.5",
      "world from 192.0.2.1",
      "world6 from 2001:db8::1",
    ]);
    expect(tunnel.heard.sort()).toEqual([
      "overlay from 10.244.1.5",
      "overlay6 from fd01:2:3:101::5",
      "remote-pod from 10.244.1.5",
      "remote-pod6 from fd01:2:3:101::5",
    ]);
  });

  run(`drops overlay and pod sources that did not come by the tunnel${note}`, async () => {
    using place = new Place();
    using inbox = await Inbox.open(place.node, [
      ["0.0.0.0", 9],
      ["::", 10],
    ]);
    // The neighbours must know each other before; asking with a forged source gets no answer.
    sendDatagram(place.world, { to: "2001:db8::1", port: 10, text: "first" });
    await inbox.until("first");
    // From the world, forged.
    sendDatagram(place.world, { from: "10.90.0.7", to: "192.0.2.1", port: 9, text: "forged-overlay" });
    sendDatagram(place.world, { from: "10.244.2.7", to: "192.0.2.1", port: 9, text: "forged-pod" });
    sendDatagram(place.world, { from: "fd01:2:3::7", to: "2001:db8::1", port: 10, text: "forged-overlay6" });
    sendDatagram(place.world, { from: "fd01:2:3:102::7", to: "2001:db8::1", port: 10, text: "forged-pod6" });
    // A pod of this node with the source of another node's pod.
    sendDatagram(place.pod, { from: "10.244.9.9", to: "10.244.1.1", port: 9, text: "forged-by-pod" });
    // The tunnel with this node's own source.
    sendDatagram(place.tunnel, { from: "10.244.1.77", to: "10.90.0.2", port: 9, text: "forged-self" });
    // The world, to addresses that only the tunnel may reach.
    sendDatagram(place.world, { to: "10.90.0.2", port: 9, text: "weak-host" });
    sendDatagram(place.world, { to: "10.244.1.1", port: 9, text: "weak-host-pod" });
    const from6 = "2001:db8::9";
    sendDatagram(place.world, { from: from6, to: "fd01:2:3::2", port: 10, text: "weak-host6" });
    sendDatagram(place.world, { from: from6, to: "fd01:2:3:101::1", port: 10, text: "weak-host-pod6" });
    // And what is right.
    sendDatagram(place.tunnel, { from: "10.90.0.3", to: "10.90.0.2", port: 9, text: "node" });
    sendDatagram(place.tunnel, { from: "10.244.2.5", to: "10.90.0.2", port: 9, text: "remote-pod" });
    sendDatagram(place.tunnel, { from: "fd01:2:3::3", to: "fd01:2:3::2", port: 10, text: "node6" });
    sendDatagram(place.pod, { from: "10.244.1.5", to: "10.244.1.1", port: 9, text: "own-pod" });
    sendDatagram(place.world, { to: "192.0.2.1", port: 9, text: "world" });
    sendDatagram(place.world, { to: "2001:db8::1", port: 10, text: "world6" });
    await Promise.all(
      ["node", "remote-pod", "node6", "own-pod", "world", "world6"].map((text) => inbox.until(text)),
    );
    expect(inbox.heard.map((text) => text.split(" ")[0]).sort()).toEqual([
      "first",
      "node",
      "node6",
      "own-pod",
      "remote-pod",
      "world",
      "world6",
    ]);
  });

  run(
    `keeps cluster ports inside, but for exposed ones; other services and answers stay${note}`,
    async () => {
      using place = new Place();
      const ports = [22, 53, 4789, 8472, 30000, 30080, 32767, 32768, 51820];
      using inbox = await Inbox.open(
        place.node,
        ports.map((port) => ["0.0.0.0", port] as const),
      );
      for (const port of ports) {
        sendDatagram(place.world, { to: "192.0.2.1", port, text: `world:${port}` });
        sendDatagram(place.tunnel, { from: "10.90.0.3", to: "10.90.0.2", port, text: `tunnel:${port}` });
        sendDatagram(place.pod, { from: "10.244.1.5", to: "10.244.1.1", port, text: `pod:${port}` });
      }
      for (const from of ["world", "tunnel", "pod"]) await inbox.until(`${from}:51820`);
      const heard = (from: string) =>
        inbox.heard
          .map((text) => text.split(" ")[0] as string)
          .filter((text) => text.startsWith(`${from}:`))
          .map((text) => Number(text.split(":")[1]));
      expect(heard("world").sort((a, b) => a - b)).toEqual([22, 53, 30080, 32768, 51820]);
      expect(heard("tunnel").sort((a, b) => a - b)).toEqual(ports);
      expect(heard("pod").sort((a, b) => a - b)).toEqual(ports);

      // An answer to what the node asked for from such a port comes back.
      using world = await Inbox.open(place.world, [["192.0.2.9", 53]]);
      sendDatagram(place.node, {
        from: "192.0.2.1",
        fromPort: 31000,
        to: "192.0.2.9",
        port: 53,
        text: "question",
      });
      await world.until("question");
      using answers = await Inbox.open(place.node, [["192.0.2.1", 31000]]);
      world[Symbol.dispose]();
      sendDatagram(place.world, {
        from: "192.0.2.9",
        fromPort: 53,
        to: "192.0.2.1",
        port: 31000,
        text: "answer",
      });
      await answers.until("answer");
    },
  );

  run(`closes TCP ports of the cluster to the world${note}`, async () => {
    using place = new Place();
    const all = [22, 179, 2379, 6443, 7472, 7473, 7474, 10250, 10256, 10257, 10259, 30001, 8080];
    const servers = all.map((port) =>
      place.node.run(() => Bun.listen({ hostname: "0.0.0.0", port, socket: { data() {} } })),
    );
    const opened: number[] = [];
    const dial = (netns: Netns, hostname: string, port: number): Promise<unknown> =>
      netns.run(() => {
        const promise = Bun.connect({
          hostname,
          port,
          socket: {
            data() {},
            open: (socket) => {
              opened.push(port);
              socket.end();
            },
            connectError() {},
          },
        });
        promise.catch(() => {});
        return { promise };
      }).promise;
    try {
      for (const port of all.filter((one) => ![22, 6443, 8080].includes(one)))
        void dial(place.world, "192.0.2.1", port);
      // Sent later on the same way: when these are open, the others are dropped.
      for (const port of [22, 6443, 8080]) await dial(place.world, "192.0.2.1", port);
      expect(opened.splice(0)).toEqual([22, 6443, 8080]);
      for (const port of [10250, 30001]) await dial(place.tunnel, "10.90.0.2", port);
      for (const port of [10250, 6443]) await dial(place.pod, "10.244.1.1", port);
      expect(opened.splice(0)).toEqual([10250, 30001, 10250, 6443]);
      // The register answers to nodes, not to pods.
      void dial(place.pod, "10.90.0.2", 7473);
      await dial(place.pod, "10.90.0.2", 8080);
      expect(opened).toEqual([8080]);
    } finally {
      for (const server of servers) server.stop(true);
    }
  });

  run(`confines newcomers to the enrolment service${note}`, async () => {
    using place = new Place(true);
    const server = place.node.run(() =>
      Bun.listen({ hostname: "fd01:2:3:1::1", port: 7472, socket: { data() {} } }),
    );
    using inbox = await Inbox.open(place.node, [["::", 10]]);
    using pod = await Inbox.open(place.pod, [["::", 10]]);
    const from = "fd01:2:3:1::abcd";
    try {
      sendDatagram(place.tunnel, { from, to: "fd01:2:3:1::1", port: 10, text: "service-other-port" });
      sendDatagram(place.tunnel, { from, to: "fd01:2:3::2", port: 10, text: "overlay" });
      sendDatagram(place.tunnel, { from, to: "fd01:2:3:101::5", port: 10, text: "pod" });
      sendDatagram(place.tunnel, {
        from: "fd01:2:3::3",
        to: "fd01:2:3:1::1",
        port: 10,
        text: "node-to-service",
      });
      sendDatagram(place.tunnel, { from: "fd01:2:3::3", to: "fd01:2:3::2", port: 10, text: "node" });
      sendDatagram(place.tunnel, {
        from: "fd01:2:3::3",
        to: "fd01:2:3:101::5",
        port: 10,
        text: "node-to-pod",
      });
      await Promise.all([inbox.until("node"), pod.until("node-to-pod")]);
      expect(inbox.heard).toEqual(["node from fd01:2:3::3"]);
      expect(pod.heard).toEqual(["node-to-pod from fd01:2:3::3"]);
      // Only the newcomer's address is left there: the kernel takes it as the source.
      place.scratch.text("ip -6 addr del fd01:2:3::3/128 dev eth0", place.tunnel);
      place.scratch.text("ip -6 addr del fd01:2:3:102::5/128 dev eth0", place.tunnel);
      const made = place.tunnel.run(() => ({
        promise: Bun.connect({ hostname: "fd01:2:3:1::1", port: 7472, socket: { data() {} } }),
      }));
      (await made.promise).end();
    } finally {
      server.stop(true);
    }
  });
});
