/** Routing domains across two hosts of one kernel: who reaches whom, and what is left when the last pod is gone. */
import { describe, expect, test } from "bun:test";
import { formatPrefix, parseIp } from "../../src/net/mod.ts";
import { Rtnetlink } from "../../src/netlink/mod.ts";
import { DomainLab, pings, segment, vpc } from "../support/domain-lab.ts";
import { bytes } from "../support/frames.ts";
import { notRoot } from "../support/scratch.ts";
import { WireTap } from "../support/wire-tap.ts";

const hex = (address: string) => Buffer.from(bytes(address)).toString("hex");

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

describe.skipIf(notRoot !== undefined)(`domains${suffix}`, () => {
  test("a segment that nothing routes joins pods of two hosts, and goes with the last", () => {
    using lab = new DomainLab();
    const plain = segment("vni-300", 300, [], { gateways: [] });
    const domain = { name: "vni-300", vni: 300, segments: [plain], peerings: [] };
    lab.setDomains(domain);
    const [one, two] = [lab.host(1), lab.host(2)];
    const a = lab.pod(one, "a", { domain, segment: plain, addresses: ["172.16.32.1/24"] });
    lab.pod(two, "b", { domain, segment: plain, addresses: ["172.16.32.2/24"] });
    expect(pings(a, "172.16.32.2")).toBe(true);
    expect(one.problems).toEqual([]);
    expect(one.domains.active()).toEqual({ domains: [300], segments: [300] });
    lab.remove(one, "a");
    expect(one.domains.active()).toEqual({ domains: [], segments: [] });
    expect(one.text("ls " + one.folder)).toBe("");
    expect(two.text("bridge fdb show dev vx300", 300)).not.toContain("dst");
    expect(one.text("nft list table inet causeway")).not.toContain("elements");
  });

  test("of domains that were refused each is tried again by who keeps it, and all when the register speaks", () => {
    using lab = new DomainLab({ hosts: 1 });
    const one = lab.host(1);
    const net = segment("net", 101, ["10.1.1.0/24"]);
    const [red, blue, green] = [
      vpc("red", 5000, []),
      vpc("blue", 5001, []),
      vpc("green", 5002, [net]),
    ] as const;
    for (const vni of [5000, 5001])
      one.text(`ip link add x${vni} type vxlan id ${vni} dstport 4789 local 192.0.2.1`);
    lab.setDomains(red, blue, green);
    const keep = (vni: number) => {
      one.domains.keep(vni, "edge");
      return one.domains.active().domains;
    };
    expect([...keep(5000), ...keep(5001)]).toEqual([]);
    for (const vni of [5000, 5001]) one.text(`ip link del x${vni}`);
    lab.pod(one, "a", { domain: green, segment: net, addresses: ["10.1.1.10"] });
    lab.remove(one, "a");
    expect(one.domains.active().domains).toEqual([]);
    expect(keep(5001)).toEqual([5001]);
    expect([one.domains.refused(5000), one.domains.refused(5001)]).toEqual([expect.any(String), undefined]);
    lab.setDomains(red, blue, green);
    expect(one.domains.active().domains).toEqual([5001, 5000]);
    expect(one.domains.refused(5000)).toBeUndefined();
  });

  test("three segments are routed, whichever host has them", () => {
    using lab = new DomainLab();
    const segments = [1, 2, 3].map((i) =>
      segment(`net${i}`, 100 + i, [`10.1.${i}.0/24`, `fd00:1:${i}::/64`]),
    );
    const domain = vpc("blue", 5000, segments);
    lab.setDomains(domain);
    const [one, two] = [lab.host(1), lab.host(2)];
    const [net1, net2, net3] = segments as [any, any, any];
    const pods = [
      ["a", one, net1, 1, 10],
      ["b", two, net2, 2, 10],
      ["c", one, net3, 3, 10],
      ["d", two, net3, 3, 11],
      ["e", two, net1, 1, 11],
    ] as const;
    const made = pods.map(([name, host, net, i, last]) => ({
      addresses: [`10.1.${i}.${last}`, `fd00:1:${i}::${last}`],
      netns: lab.pod(host, name, {
        domain,
        segment: net,
        addresses: [`10.1.${i}.${last}`, `fd00:1:${i}::${last}`],
      }),
    }));
    for (const { netns } of made)
      for (const { addresses } of made)
        for (const address of addresses) expect([address, pings(netns, address)]).toEqual([address, true]);
    expect(pings(made[0]?.netns as any, "192.0.2.2")).toBe(false);
    expect([...one.problems, ...two.problems]).toEqual([]);
  });

  test("nobody's address is learnt from packets, and who has a known one is answered on the node: nothing is asked over the wire", () => {
    using lab = new DomainLab();
    const net = segment("net", 101, ["10.1.1.0/24", "fd00:1:1::/64"]);
    const domain = vpc("blue", 5000, [net]);
    lab.setDomains(domain);
    const [one, two] = [lab.host(1), lab.host(2)];
    const a = lab.pod(one, "a", { domain, segment: net, addresses: ["10.1.1.10", "fd00:1:1::10"] });
    const known = ["10.1.1.11", "fd00:1:1::11"];
    lab.pod(two, "b", { domain, segment: net, addresses: known });
    for (const link of ["vx101", "vx5000"]) {
      const [shown] = JSON.parse(one.text(`bridge -j -d link show dev ${link}`, 5000));
      expect(shown).toMatchObject({ ifname: link, learning: false, neigh_suppress: true });
      expect(one.text(`ip -d link show dev ${link}`, 5000)).toContain("nolearning");
    }
    using tap = new WireTap(lab.scratch.netns, lab.scratch.index("h1"));
    const asked = (...addresses: string[]) => {
      for (const address of addresses) pings(a, address);
      return tap.take().flatMap(({ what, target }) => (what === "other" ? [] : [target]));
    };
    expect(known.map((address) => pings(a, address))).toEqual([true, true]);
    expect(new Set(tap.take().map(({ what }) => what))).toEqual(new Set(["other"]));
    lab.scratch.text("ip neigh flush all", a);
    expect(asked(...known)).toEqual([]);
    // What nobody announced is asked for: the tap sees it.
    expect(asked("10.1.1.77", "fd00:1:1::77")).toEqual(
      expect.arrayContaining([hex("10.1.1.77"), hex("fd00:1:1::77")]),
    );
    expect([...one.problems, ...two.problems]).toEqual([]);
  });

  test("a first pod of a segment comes, of which the other end has not heard: what is routed to hosts of it goes on", () => {
    using lab = new DomainLab();
    const [net1, net2] = [segment("net1", 101, ["10.1.1.0/24"]), segment("net2", 102, ["10.1.2.0/24"])];
    const domain = vpc("blue", 5000, [net1, net2]);
    lab.setDomains(domain);
    const [one, two] = [lab.host(1), lab.host(2)];
    const a = lab.pod(one, "a", { domain, segment: net1, addresses: ["10.1.1.10"] });
    lab.pod(two, "b", { domain, segment: net2, addresses: ["10.1.2.11"] });
    expect(pings(a, "10.1.2.11")).toBe(true);
    // As one whose agent was killed.
    two.tell = () => {};
    const c = lab.pod(one, "c", { domain, segment: net2, addresses: ["10.1.2.10"] });
    expect([pings(a, "10.1.2.11"), pings(a, "10.1.2.10")]).toEqual([true, true]);
    // In the segment itself nobody can know of it yet.
    expect(pings(c, "10.1.2.11")).toBe(false);
    lab.remove(one, "c");
    expect(pings(a, "10.1.2.11")).toBe(true);
    expect([...one.problems, ...two.problems]).toEqual([]);
  });

  test("a segment with a port of its own: its VXLAN goes there and nowhere else, that of the others as ever", () => {
    using lab = new DomainLab();
    const own = segment("own", 101, ["10.1.1.0/24"], { dstPort: 8472 });
    const usual = segment("usual", 102, ["10.1.2.0/24"]);
    const domain = vpc("blue", 5000, [own, usual]);
    lab.setDomains(domain);
    const [one, two] = [lab.host(1), lab.host(2)];
    const a = lab.pod(one, "a", { domain, segment: own, addresses: ["10.1.1.10"] });
    lab.pod(two, "b", { domain, segment: own, addresses: ["10.1.1.11"] });
    lab.pod(two, "c", { domain, segment: usual, addresses: ["10.1.2.11"] });
    using tap = new WireTap(lab.scratch.netns, lab.scratch.index("h1"));
    const ports = (address: string) => {
      expect([address, pings(a, address)]).toEqual([address, true]);
      return new Set(tap.take().map(({ port, vni }) => `${vni} at ${port}`));
    };
    expect(ports("10.1.1.11")).toEqual(new Set(["101 at 8472"]));
    // There by the VPC's own VNI, and back too, though the segment of the one that asked is there as well.
    expect(ports("10.1.2.11")).toEqual(new Set(["5000 at 4789"]));
    // Its port is closed to others with its last pod.
    const closed = () => one.text("nft list table inet causeway").match(/8472/g) ?? [];
    expect(closed()).not.toEqual([]);
    lab.remove(one, "a");
    expect(closed()).toEqual([]);
    expect([...one.problems, ...two.problems]).toEqual([]);
  });

  test("a segment whose VXLAN another one was in the way of floods to all once that is gone", () => {
    using lab = new DomainLab();
    lab.setDomains(vpc("blue", 5000, [segment("net", 101, ["10.1.1.0/24"])]));
    const one = lab.host(1);
    one.domains.keep(5000, "test");
    const place = one.domains.place(5000);
    one.text("ip link add other type vxlan id 101 dstport 4789 local 192.0.2.1");
    expect(place?.hold(new Set([101])).get(101)).toStartWith("Cannot make segment/101 of blue: ");
    expect(one.text("ip -br link", 5000)).not.toContain("br101");
    one.text("ip link del other");
    place?.hold(new Set([101]));
    one.domains.apply([{ op: "set", remote: { kind: "flood", vni: 101, vtep: parseIp("192.0.2.2") } }]);
    expect(one.text("bridge fdb show dev vx101", 5000)).toContain("dst 192.0.2.2");
    place?.hold(new Set());
    one.domains.keep(5000, "test", false);
    expect(one.text("ls " + one.folder)).toBe("");
  });

  test("when attach returns, the pod's and its gateway's addresses are taken up", () => {
    using lab = new DomainLab({ hosts: 1 });
    const net = segment("net", 101, ["10.1.1.0/24", "fd00:1:1::/64"]);
    const domain = vpc("blue", 5000, [net]);
    lab.setDomains(domain);
    const one = lab.host(1);
    for (let i = 16; i < 48; i++) {
      const address = `fd00:1:1::${i.toString(16)}`;
      // Looked at before anything else is done: the kernel does it in its work queue, a moment after it was asked.
      const netns = lab.pod(one, `${i}`, { domain, segment: net, addresses: [`10.1.1.${i}`, address] });
      using inside = Rtnetlink.open({ netns });
      const local = inside.routes({ table: 255 }).map(({ destination }) => formatPrefix(destination));
      expect(local).toContain(`${address}/128`);
      if (i > 16) continue;
      expect(one.text("ip -6 route show table local", 5000)).toContain("local fd00:1:1::1 dev br101");
    }
  });
});
