/** VXLAN made by hand: what comes from anywhere but the underlay, or from who takes no part in its VNI, is not decapsulated. */
import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { formatMac, type Mac } from "../../src/net/mod.ts";
import { addLink, Rtnetlink } from "../../src/netlink/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import type { Domain, Segment } from "../../src/domain/mod.ts";
import { DomainLab, pings, segment, vpc } from "../support/domain-lab.ts";
import { ethernet, FrameSocket, ipv4 } from "../support/frames.ts";
import { notRoot } from "../support/scratch.ts";
import { type VxlanOuter, vxlanPackets } from "../support/vxlan-packet.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

interface Outer extends Omit<VxlanOuter, "target"> {
  /** Default the first host's. */
  readonly target?: string;
  /** The frame is for everybody. */
  readonly toAll?: boolean;
}

describe.skipIf(notRoot !== undefined)(`the guard before VXLAN${suffix}`, () => {
  let lab: DomainLab;
  /** Somebody on the underlay, and a pod of the default network. */
  let wire: FrameSocket;
  let neighbour: FrameSocket;
  let macs: { readonly nic: string; readonly port: string };
  const blue = segment("blue", 101, ["10.1.1.0/24"]);
  const red = segment("red", 201, ["10.1.1.0/24"]);
  const blueVpc = vpc("blue", 5001, [blue]);
  const redVpc = vpc("red", 5002, [red]);

  /** A pod of the first host, and what a VTEP of its segment may send. */
  interface Victim {
    readonly socket: FrameSocket;
    readonly mac: string;
    readonly honest: Outer;
  }
  let inBlue: Victim;
  let inRed: Victim;

  function open(netns: Netns, link: string): FrameSocket {
    using route = Rtnetlink.open({ netns });
    return new FrameSocket(netns, route.link(link)?.index ?? 0);
  }

  beforeAll(() => {
    lab = new DomainLab({ hosts: 3 });
    lab.setDomains(blueVpc, redVpc);
    const [one, two, three] = [lab.host(1), lab.host(2), lab.host(3)];
    const victim = (name: string, domain: Domain, honest: Outer): Victim => {
      const [net] = domain.segments as [Segment];
      const netns = lab.pod(one, name, { domain, segment: net, addresses: ["10.1.1.10"] });
      const mac = formatMac(one.pods.get(name)?.attachment.mac as Mac);
      return { socket: open(netns, "eth0"), mac, honest };
    };
    inBlue = victim("blue", blueVpc, { source: "192.0.2.2", vni: 101 });
    inRed = victim("red", redVpc, { source: "192.0.2.3", vni: 201 });
    lab.pod(two, "b", { domain: blueVpc, segment: blue, addresses: ["10.1.1.11"] });
    lab.pod(three, "r", { domain: redVpc, segment: red, addresses: ["10.1.1.11"] });
    const { scratch } = lab;
    const stranger = scratch.another();
    const master = scratch.index("underlay");
    scratch.route.request(
      addLink({ name: "stranger", type: "veth", master, up: true, peer: { name: "nic", netns: stranger } }),
    );
    const other = scratch.another();
    using home = Rtnetlink.open({ netns: one.netns });
    home.request(addLink({ name: "cw-pods", type: "veth", up: true, peer: { name: "eth0", netns: other } }));
    one.text("ip address add 10.244.1.1/24 dev cw-pods");
    scratch.text("ip link set nic up", stranger);
    scratch.text("ip link set eth0 up", other);
    wire = open(stranger, "nic");
    neighbour = open(other, "eth0");
    const macOf = (link: string) => formatMac(home.link(link)?.mac as Mac);
    macs = { nic: macOf("nic"), port: macOf("cw-pods") };
  });
  afterAll(() => {
    for (const socket of [inBlue?.socket, inRed?.socket, wire, neighbour]) socket?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  let serial = 0;

  /** Sends a frame in VXLAN, to a pod or to the router; returns what to look for. */
  function send(socket: FrameSocket, outer: Outer, to: string): string {
    const mark = `injected ${serial++}.`;
    const inner = ethernet("02:00:00:00:00:66", to, 0x0800, ipv4("10.1.1.11", "10.1.1.10", mark));
    const own = socket === wire ? macs.nic : macs.port;
    const mac = outer.toAll === true ? "ff:ff:ff:ff:ff:ff" : own;
    for (const packet of vxlanPackets({ target: "192.0.2.1", ...outer }, inner))
      socket.send(ethernet("02:00:00:00:00:99", mac, 0x0800, packet));
    return mark;
  }

  /** What may be sent follows: once it has arrived, the one before has arrived or never will. */
  function arrives(socket: FrameSocket, outer: Outer, victim = inBlue, to = victim.mac): boolean {
    const tested = send(socket, outer, to);
    return heard(victim, tested);
  }

  function heard(victim: Victim, tested: string): boolean {
    const last = send(wire, victim.honest, victim.mac);
    for (let seen = false; ;) {
      const got = victim.socket.receive(10_000);
      if (got === undefined) throw new Error("what may be sent did not arrive");
      if (Buffer.from(got).includes(last)) return seen;
      seen ||= Buffer.from(got).includes(tested);
    }
  }

  const router = () => formatMac(lab.host(1).domains.routerMac);

  test("a VTEP that takes part is heard, routed and in fragments too", () => {
    expect(arrives(wire, { source: "192.0.2.2", vni: 101 })).toBe(true);
    expect(arrives(wire, { source: "192.0.2.2", vni: 101, firstFragmentBytes: 48 })).toBe(true);
    expect(arrives(wire, { source: "192.0.2.2", vni: 5001 }, inBlue, router())).toBe(true);
    expect(arrives(wire, { source: "192.0.2.3", vni: 201 }, inRed)).toBe(true);
    expect(arrives(wire, { source: "192.0.2.3", vni: 5002 }, inRed, router())).toBe(true);
  });

  test("somebody of the underlay who is no VTEP is not, nor one in this host's name", () => {
    for (const source of ["192.0.2.66", "192.0.2.1"]) {
      expect(arrives(wire, { source, vni: 101 })).toBe(false);
      expect(arrives(wire, { source, vni: 5001 }, inBlue, router())).toBe(false);
    }
  });

  test("nor a VTEP of another tenant", () => {
    expect(arrives(wire, { source: "192.0.2.2", vni: 201 }, inRed)).toBe(false);
    expect(arrives(wire, { source: "192.0.2.2", vni: 5002 }, inRed, router())).toBe(false);
    expect(arrives(wire, { source: "192.0.2.3", vni: 101 })).toBe(false);
    expect(arrives(wire, { source: "192.0.2.3", vni: 5001 }, inBlue, router())).toBe(false);
  });

  test("nor a pod of the default network, whatever address it takes", () => {
    for (const source of ["10.244.1.9", "192.0.2.2", "192.0.2.1"])
      expect(arrives(neighbour, { source, vni: 101 })).toBe(false);
    expect(arrives(neighbour, { source: "10.244.1.9", vni: 101, target: "10.244.1.1" })).toBe(false);
  });

  test("what only passes through this host is none of its affairs", () => {
    const one = lab.host(1);
    one.text("sysctl -qw net.ipv4.ip_forward=1");
    one.text("ip neighbour replace 10.244.1.7 lladdr 02:00:00:00:00:07 dev cw-pods nud permanent");
    const mark = send(wire, { source: "192.0.2.66", vni: 101, target: "10.244.1.7" }, inBlue.mac);
    for (let seen = false; !seen;) {
      const got = neighbour.receive(10_000);
      if (got === undefined) throw new Error("what was for somebody else did not arrive");
      seen = Buffer.from(got).includes(mark);
    }
    one.text("sysctl -qw net.ipv4.ip_forward=0");
  });

  test("nor what is for everybody: broadcast and multicast reach the same socket", () => {
    for (const target of ["255.255.255.255", "192.0.2.255", "224.0.0.1"])
      expect(arrives(wire, { source: "192.0.2.66", vni: 101, target, toAll: true })).toBe(false);
    for (const target of ["255.255.255.255", "10.244.1.255", "224.0.0.1"])
      expect(arrives(neighbour, { source: "10.244.1.9", vni: 101, target, toAll: true })).toBe(false);
  });

  test("nor a first fragment that is too short to tell its VNI", () => {
    expect(arrives(wire, { source: "192.0.2.2", vni: 201, firstFragmentBytes: 8 }, inRed)).toBe(false);
    expect(arrives(wire, { source: "192.0.2.66", vni: 101, firstFragmentBytes: 8 })).toBe(false);
  });

  test("a VTEP that takes part no longer is not heard any more", () => {
    const [one, two] = [lab.host(1), lab.host(2)];
    expect(one.text("nft list set inet causeway vxlan4")).toContain("192.0.2.2 . 0x6500");
    lab.remove(two, "b");
    expect(one.text("nft list set inet causeway vxlan4")).not.toContain("192.0.2.2");
    const late = send(wire, { source: "192.0.2.2", vni: 101 }, inBlue.mac);
    lab.pod(two, "b", { domain: blueVpc, segment: blue, addresses: ["10.1.1.11"] });
    expect(heard(inBlue, late)).toBe(false);
  });

  test("a process that is not root speaks for no VTEP", () => {
    const script = `${lab.scratch.folder}/speak`;
    writeFileSync(script, "echo hello >/dev/udp/192.0.2.2/4789\n");
    const host = lab.host(1);
    host.text(`bash ${script}`);
    expect(() => host.text(`setpriv --reuid=65534 --clear-groups bash ${script}`)).toThrow(
      "Operation not permitted",
    );
  });

  test("nothing comes out of a leg as long as the rules of legs are not in force", () => {
    const inside = lab.scratch.another();
    const host = lab.host(1);
    const dropped = (chain: string) =>
      Number(/"cwn\*" counter packets (\d+)/.exec(host.text(`nft list chain inet causeway ${chain}`))?.[1]);
    host.text(`ip link add cwn5 type veth peer name eth0 netns ${inside.path}`);
    for (const command of ["address add 10.99.0.1/24 dev cwn5", "link set cwn5 up"])
      host.text(`ip ${command}`);
    for (const command of ["address add 10.99.0.2/24 dev eth0", "link set eth0 up"])
      lab.scratch.text(`ip ${command}`, inside);
    expect(pings(inside, "10.99.0.1", "-c 1 -W 1")).toBe(false);
    expect(dropped("vxlan_in")).toBeGreaterThan(0);
    // Nor does VXLAN for somebody behind this node, by the way that the guard has for what only passes.
    expect(dropped("vxlan")).toBe(0);
    lab.scratch.text("ip route add default via 10.99.0.1", inside);
    inside.run(() => {
      const done = Bun.spawnSync(["bash", "-c", "echo hello >/dev/udp/10.244.1.7/4789"]);
      expect(done.exitCode).toBe(0);
    });
    expect(dropped("vxlan")).toBe(1);
    host.text("ip link del cwn5");
  });
});
