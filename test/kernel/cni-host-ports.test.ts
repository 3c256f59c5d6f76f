/** Host ports with real traffic, under the whole rules of a mesh's node: who reaches the pod, and whose address the pod sees. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { Inbox, sendDatagram } from "../support/datagrams.ts";
import { both, HostPortNode, mapped, twice } from "../support/host-port-node.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(60_000);
const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

const BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-iptables";
const NODE4 = "192.0.2.1";
const NODE6 = "2001:db8::1";
const GATEWAY4 = "10.244.1.1";
const GATEWAY6 = "fd01:2:3:101::1";
const CLIENT4 = "192.0.2.9";
const CLIENT6 = "2001:db8::9";

describe.skipIf(notRoot !== undefined)(`CNI: host ports, traffic${suffix}`, () => {
  let node: HostPortNode;
  beforeAll(async () => {
    node = await HostPortNode.start();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  /** Packets to 127.0.0.0/8 that the guard stopped. */
  const dropped = async () =>
    Number(/daddr .* packets (\d+) /.exec(await node.cni.must("nft list chain ip causeway guard"))?.[1]);

  test("the agent starts without failures", () => expect(node.cni.started.failed).toEqual([]));

  test("a client outside reaches the pod, which sees the client's own address; TCP, UDP, IPv4, IPv6", async () => {
    await node.add("web", both(80));
    expect(await node.ask("client", NODE4, 80)).toEqual(twice(`web sees ${CLIENT4}`));
    expect(await node.ask("client", "192.0.2.2", 80)).toEqual(twice(`web sees ${CLIENT4}`));
    expect(await node.ask("client", NODE6, 80)).toEqual(twice(`web sees ${CLIENT6}`));
    expect(await node.ask("client", NODE4, 81)).toEqual(twice("refused"));
    await node.remove("web");
    expect(await node.ask("client", NODE4, 80)).toEqual(twice("refused"));
    expect(await node.elements()).toEqual([]);
  });

  // With 1, frames between pods pass the rules inside the bridge; kube-proxy needs that, and Linux begins with it.
  for (const bridged of ["1", "0"]) {
    const lacking = bridged === "1" && !existsSync(BRIDGED);
    const title = `bridge-nf-call-iptables=${bridged}${lacking ? " (skipped: br_netfilter is not loaded)" : ""}`;
    test.skipIf(lacking)(`from other nodes' pods, the node, other pods and itself; ${title}`, async () => {
      if (existsSync(BRIDGED))
        await node.cni.must(
          `sysctl -qw net.bridge.bridge-nf-call-iptables=${bridged} net.bridge.bridge-nf-call-ip6tables=${bridged}`,
        );
      const result = await node.add("web", both(80));
      await node.cni.add("other");
      const [own4, own6] = result.ips.map(({ address }: { address: string }) => address.split("/")[0]);
      const expected: [from: string, to: string, sees: string][] = [
        ["tunnel", "10.90.0.2", "10.244.2.5"],
        ["tunnel", "fd01:2:3::2", "fd01:2:3:102::5"],
        ["node", NODE4, NODE4],
        ["node", NODE6, NODE6],
        ["node", "127.0.0.1", GATEWAY4],
        ["node", "127.3.2.1", GATEWAY4],
        ["other", NODE4, GATEWAY4],
        ["other", GATEWAY4, GATEWAY4],
        ["other", NODE6, GATEWAY6],
        ["web", NODE4, GATEWAY4],
        ["web", GATEWAY4, GATEWAY4],
        ["web", NODE6, GATEWAY6],
        ["web", GATEWAY6, GATEWAY6],
      ];
      for (const [from, to, sees] of expected)
        expect([from, to, ...(await node.ask(from, to, 80))]).toEqual([
          from,
          to,
          ...twice(`web sees ${sees}`),
        ]);
      // IPv6 has no route_localnet: said at once, instead of by silence.
      expect(await node.ask("node", "::1", 80)).toEqual(twice("refused"));
      // The pod's own addresses are not the node's.
      for (const own of [own4, own6]) expect(await node.ask("other", own, 80)).toEqual(twice("refused"));
      await node.remove("web");
      await node.remove("other");
      expect(await node.cni.must("cat /proc/sys/net/ipv4/conf/cw-pods/route_localnet")).toBe("0\n");
    });
  }

  test("hostIP: that address only, one family only, loopback only; pods share a port on different addresses", async () => {
    await node.add("first", [...both(80, { hostIP: NODE4 }), ...both(81, { hostIP: NODE6 })]);
    await node.add("second", [...both(80, { hostIP: "192.0.2.2" }), ...both(82, { hostIP: "0.0.0.0" })]);
    await node.add("third", [...both(82, { hostIP: "::" }), ...both(83, { hostIP: "127.0.0.1" })]);
    const expected: [from: string, to: string, port: number, answer: string][] = [
      ["client", NODE4, 80, `first sees ${CLIENT4}`],
      ["client", "192.0.2.2", 80, `second sees ${CLIENT4}`],
      ["client", NODE6, 80, "refused"],
      ["node", "127.0.0.1", 80, "refused"],
      ["client", NODE6, 81, `first sees ${CLIENT6}`],
      ["client", "2001:db8::2", 81, "refused"],
      ["client", NODE4, 81, "refused"],
      ["client", "192.0.2.2", 82, `second sees ${CLIENT4}`],
      ["node", "127.0.0.1", 82, `second sees ${GATEWAY4}`],
      ["client", "2001:db8::2", 82, `third sees ${CLIENT6}`],
      ["node", "127.0.0.1", 83, `third sees ${GATEWAY4}`],
      ["client", NODE4, 83, "refused"],
    ];
    for (const [from, to, port, answer] of expected)
      expect([from, to, port, ...(await node.ask(from, to, port))]).toEqual([
        from,
        to,
        port,
        ...twice(answer),
      ]);
    for (const name of ["first", "second", "third"]) await node.remove(name);
    expect(await node.elements()).toEqual([]);
  });

  test("as containerd says it: capital letters, an empty HostIP, ports that ask for nothing", async () => {
    const { ips } = await node.add("cri", [
      { HostPort: 80, ContainerPort: 8080, Protocol: "TCP", HostIP: "" },
      { HostPort: 0, ContainerPort: 8080, Protocol: "tcp", HostIP: "" },
      { ContainerPort: 9090 },
    ]);
    expect(await node.ask("client", NODE4, 80)).toEqual([`cri sees ${CLIENT4}`, "refused"]);
    const addresses = ips.map((entry: { address: string }) => entry.address.split("/")[0]);
    expect(await node.elements()).toEqual(addresses.map((address: string) => `tcp 80 > ${address} 8080`));
    await node.remove("cri");
  });

  test("a host port among the cluster's ports is open to whom these are open to", async () => {
    const ports = [30080, 30081].flatMap((hostPort) => [
      ...both(hostPort),
      { hostPort: hostPort + 100, containerPort: 9, protocol: "udp" },
    ]);
    await node.add("cluster", [...ports, { hostPort: 80, containerPort: 9, protocol: "udp" }]);
    using inbox = await Inbox.open(node.at("cluster"), [["0.0.0.0", 9]]);
    for (const port of [30180, 30181, 80])
      sendDatagram(node.at("client"), { to: NODE4, port, text: `outside:${port}` });
    await inbox.until("outside:80");
    sendDatagram(node.at("tunnel"), { to: "10.90.0.2", port: 30181, text: "tunnel:30181" });
    await inbox.until("tunnel:30181");
    expect(inbox.heard).toEqual([`outside:80 from ${CLIENT4}`, "tunnel:30181 from 10.244.2.5"]);
    // Mesh.spec.exposedPorts has 30080 alone.
    expect(await node.ask("client", NODE4, 30080)).toEqual(twice(`cluster sees ${CLIENT4}`));
    expect(await node.ask("tunnel", "10.90.0.2", 30081)).toEqual(twice("cluster sees 10.244.2.5"));
    await node.remove("cluster");
  });

  test("hostIP 127.0.0.1 is for the node alone, not for who sends that address over a wire", async () => {
    const mapping = { hostPort: 84, containerPort: 9, protocol: "udp", hostIP: "127.0.0.1" };
    await node.cni.add("local", { configuration: mapped(mapping) });
    await node.cni.must("for link in all eth0 cw0; do sysctl -qw net.ipv4.conf.$link.rp_filter=0; done");
    for (const [place, gateway] of [
      ["client", NODE4],
      ["tunnel", "10.90.0.2"],
    ])
      await node.cni.must(`set -e
        ip -n ${place} addr flush dev lo
        ip netns exec ${place} sysctl -qw net.ipv4.conf.eth0.route_localnet=1
        ip -n ${place} route add 127.0.0.1/32 via ${gateway} dev eth0 onlink`);
    using inbox = await Inbox.open(node.at("local"), [["0.0.0.0", 9]]);
    const sent = ["client", "tunnel", "node"].map((place) =>
      sendDatagram(node.at(place), { to: "127.0.0.1", port: 84, text: place }),
    );
    expect(sent).toEqual([true, true, true]);
    await inbox.until("node");
    expect(inbox.heard.map((text) => text.split(" ")[0])).toEqual(["node"]);
    expect(await dropped()).toBe(2);
    await node.remove("local");
  });

  test("addresses of services are nobody's, though IPVS puts them on a link of the node", async () => {
    await node.cni.must("ip link add services type bridge && ip addr add 10.96.0.1/32 dev services");
    await node.add("web", both(443));
    expect(await node.ask("node", "10.96.0.1", 443)).toEqual(twice("refused"));
    expect(await node.ask("node", NODE4, 443)).toEqual(twice(`web sees ${NODE4}`));
    await node.remove("web");
    await node.cni.must("ip link del services");
  });

  test("pods do not reach the node's loopback, though it is routed for them", async () => {
    const before = await dropped();
    await node.add("web", both(80));
    await node.cni.must("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.cw-pods.rp_filter=0");
    await node.cni.must(`set -e
      ip netns exec web sysctl -qw net.ipv4.conf.eth0.route_localnet=1
      ip -n web route add 127.0.0.1/32 via ${GATEWAY4}`);
    using inbox = await Inbox.open(node.at("node"), [["0.0.0.0", 9]]);
    const sent = ["127.0.0.1", GATEWAY4].map((to) => sendDatagram(node.at("web"), { to, port: 9, text: to }));
    expect(sent).toEqual([true, true]);
    await inbox.until(GATEWAY4);
    expect(inbox.heard.map((text) => text.split(" ")[0])).toEqual([GATEWAY4]);
    expect((await dropped()) - before).toBe(1);
    await node.remove("web");
  });
});
