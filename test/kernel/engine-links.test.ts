/** Links of every type, each where the kernel has it: made, kept, changed, replaced and removed. */
import { describe, expect, test } from "bun:test";
import { Engine, formatPlan, type KernelObject, type Link } from "../../src/engine/mod.ts";
import { parseInterfaceAddress, parseIp, parsePrefix } from "../../src/net/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

interface Case {
  /** The words of ip-link(8) that tell whether the kernel has the type. */
  readonly probe: string;
  readonly link: Link;
  /** A wish that means another device. */
  readonly other: Link;
  readonly shown: RegExp;
}

const base: KernelObject = { kind: "link", name: "base0", type: "bridge" };

const cases: Record<string, Case> = {
  bridge: {
    probe: "x type bridge",
    link: { kind: "link", name: "x0", type: "bridge", stp: false, mtuBytes: 1400 },
    other: { kind: "link", name: "x0", type: "veth", peer: { name: "x1" } },
    shown: /bridge forward_delay.*stp_state 0/,
  },
  veth: {
    probe: "x type veth peer name y",
    link: { kind: "link", name: "x0", type: "veth", peer: { name: "x1", mtuBytes: 1400 } },
    other: { kind: "link", name: "x0", type: "bridge" },
    shown: /x0@x1[^]*veth/,
  },
  vxlan: {
    probe: "x type vxlan id 1 dstport 4789",
    link: {
      kind: "link",
      name: "x0",
      type: "vxlan",
      vni: 5,
      local: parseIp("fd00::1"),
      dstPort: 8472,
      learning: false,
      ttl: 9,
    },
    other: { kind: "link", name: "x0", type: "vxlan", vni: 5, local: parseIp("10.0.0.1") },
    shown: /vxlan id 5 local fd00::1 .*dstport 8472 nolearning ttl 9/,
  },
  vlan: {
    probe: "link base0 name x type vlan id 5",
    link: { kind: "link", name: "x0", type: "vlan", parent: "base0", vlanId: 5 },
    other: { kind: "link", name: "x0", type: "vlan", parent: "base0", vlanId: 6 },
    shown: /vlan protocol 802.1Q id 5/,
  },
  macvlan: {
    probe: "link base0 name x type macvlan mode bridge",
    link: { kind: "link", name: "x0", type: "macvlan", parent: "base0", mode: "private" },
    other: { kind: "link", name: "x0", type: "macvlan", parent: "base0", mode: "bridge" },
    shown: /x0@base0[^]*macvlan mode private/,
  },
  vrf: {
    probe: "x type vrf table 9",
    link: { kind: "link", name: "x0", type: "vrf", table: 900 },
    other: { kind: "link", name: "x0", type: "vrf", table: 901 },
    shown: /vrf table 900/,
  },
  dummy: {
    probe: "x type dummy",
    link: { kind: "link", name: "x0", type: "dummy", mtuBytes: 1300 },
    other: { kind: "link", name: "x0", type: "bridge" },
    shown: /dummy/,
  },
  ifb: {
    probe: "x type ifb",
    link: { kind: "link", name: "x0", type: "ifb", mtuBytes: 1400 },
    other: { kind: "link", name: "x0", type: "bridge" },
    shown: /mtu 1400[^]*ifb/,
  },
  wireguard: {
    probe: "x type wireguard",
    link: { kind: "link", name: "x0", type: "wireguard", mtuBytes: 1420 },
    other: { kind: "link", name: "x0", type: "bridge" },
    shown: /wireguard/,
  },
};

/** Asks ip(8), on a bridge that VLANs and macvlans can be made on. */
function lacks(words: string): string | undefined {
  if (notRoot !== undefined) return notRoot;
  using scratch = new Scratch();
  scratch.text("ip link add base0 type bridge");
  try {
    scratch.text(`ip link add ${words}`);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

for (const [type, one] of Object.entries(cases)) {
  const cannot = lacks(one.probe);
  describe.skipIf(cannot !== undefined)(
    `${type} links${cannot === undefined ? "" : ` (skipped: ${cannot})`}`,
    () => {
      test("are made, kept by a second engine, replaced with what is on them, and removed", () => {
        using scratch = new Scratch();
        const show = () => scratch.text("ip -d link");
        const before = show();
        using engine = Engine.open({ netns: scratch.netns });
        const address: KernelObject = {
          kind: "address",
          link: "x0",
          address: parseInterfaceAddress("10.99.0.1/24"),
        };
        const route: KernelObject = {
          kind: "route",
          destination: parsePrefix("10.98.0.0/16"),
          hops: [{ via: parseIp("10.99.0.2"), dev: "x0" }],
        };
        const route6: KernelObject = {
          kind: "route",
          destination: parsePrefix("fd98::/48"),
          hops: [{ dev: "x0" }],
        };
        const rest = [base, address, route, route6];
        engine.set("all", [one.link, ...rest]);
        expect(engine.apply().failed).toEqual([]);
        expect(show()).toMatch(one.shown);
        expect(engine.apply().applied).toBe(0);
        using second = Engine.open({ netns: scratch.netns });
        second.set("all", [one.link, ...rest]);
        expect(formatPlan(second.plan({ prune: true }))).toBe("");
        const index = scratch.index("x0");
        engine.set("all", [one.other, ...rest]);
        expect(engine.apply().failed).toEqual([]);
        expect(scratch.index("x0")).not.toBe(index);
        expect(engine.status().filter((status) => status.state !== "ready")).toEqual([]);
        expect(scratch.text("ip route")).toContain("10.98.0.0/16 via 10.99.0.2 dev x0");
        expect(scratch.text("ip -6 route")).toContain("fd98::/48 dev x0");
        engine.remove("all");
        expect(engine.apply().failed).toEqual([]);
        expect(show()).toBe(before);
      });
    },
  );
}

const noVrf = lacks("x type vrf table 9");

test.skipIf(noVrf !== undefined)(
  `a port of a VRF${noVrf === undefined ? "" : ` (skipped: ${noVrf})`}`,
  () => {
    using scratch = new Scratch();
    using engine = Engine.open({ netns: scratch.netns });
    const port: Link = { kind: "link", name: "x0", type: "bridge", master: "red" };
    engine.set("all", [port, { kind: "link", name: "red", type: "vrf", table: 900 }]);
    expect(engine.apply().failed).toEqual([]);
    expect(scratch.text("ip link show x0")).toContain("master red");
    expect(formatPlan(engine.plan({ prune: true }))).toBe("");
  },
);
