/** Links: what we make is what ip(8) and bridge(8) show, and what we read is what they print. */
import { describe, expect, test } from "bun:test";
import { formatIp, formatMac, parseIp, parseMac } from "../../src/net/mod.ts";
import {
  addLink,
  attachTun,
  createTun,
  deleteLink,
  deleteTun,
  type LinkInfo,
  type NewLink,
  Rtnetlink,
  setLink,
} from "../../src/netlink/mod.ts";
import { openDescriptions } from "../../src/sys/mod.ts";
import { expectAgreement, type Json, lacksKind, notRoot, refusal, Scratch } from "../support/scratch.ts";

/** What ip(8) and we both know of a link. */
function ours(link: LinkInfo, names: Map<number, string>): Json {
  return {
    index: link.index,
    name: link.name,
    kind: link.kind,
    mtu: link.mtuBytes,
    up: link.up,
    lowerUp: link.lowerUp,
    loopback: link.loopback,
    state: link.operState.toUpperCase(),
    mac: link.mac === undefined ? undefined : formatMac(link.mac),
    master: link.master === undefined ? undefined : names.get(link.master),
    parent: link.peerNetnsId === undefined ? names.get(link.parent ?? 0) : link.parent,
    netns: link.peerNetnsId,
    alias: link.alias,
    addrGen: link.addrGen,
    stp: link.bridge?.stp,
    vlanFiltering: link.bridge?.vlanFiltering,
    defaultPvid: link.bridge?.defaultPvid,
    vni: link.vxlan?.vni,
    local: link.vxlan?.local && formatIp(link.vxlan.local),
    remote: link.vxlan?.remote && formatIp(link.vxlan.remote),
    dstPort: link.vxlan?.dstPort,
    learning: link.vxlan?.learning,
    ttl: link.vxlan?.ttl,
    vlanId: link.vlan?.vlanId,
    table: link.vrf?.table,
    mode: link.macvlan?.mode,
    tun: link.tun,
    port: link.port && {
      learning: link.port.learning,
      flood: link.port.flood,
      isolated: link.port.isolated,
      hairpin: link.port.hairpin,
      neighSuppress: link.port.neighSuppress,
    },
  };
}

function theirs(link: Json): Json {
  const kind = link.linkinfo?.info_kind;
  const data = link.linkinfo?.info_data ?? {};
  const port = link.linkinfo?.info_slave_kind === "bridge" ? link.linkinfo.info_slave_data : undefined;
  const of = (name: string, value: unknown) => (kind === name ? value : undefined);
  return {
    index: link.ifindex,
    name: link.ifname,
    kind,
    mtu: link.mtu,
    up: link.flags.includes("UP"),
    lowerUp: link.flags.includes("LOWER_UP"),
    loopback: link.flags.includes("LOOPBACK"),
    state: link.operstate,
    mac: link.link_type === "none" ? undefined : link.address,
    master: link.master,
    parent: link.link ?? link.link_index,
    netns: link.link_netnsid,
    alias: link.ifalias,
    addrGen: link.inet6_addr_gen_mode,
    stp: of("bridge", data.stp_state === 1),
    vlanFiltering: of("bridge", data.vlan_filtering === 1),
    defaultPvid: of("bridge", data.vlan_default_pvid ?? 0),
    vni: of("vxlan", data.id),
    local: of("vxlan", data.local ?? data.local6),
    remote: of("vxlan", data.remote ?? data.remote6),
    dstPort: of("vxlan", data.port),
    learning: of("vxlan", data.learning),
    ttl: of("vxlan", data.ttl ?? 0),
    vlanId: of("vlan", data.id),
    table: of("vrf", data.table),
    mode: of("macvlan", data.mode),
    tun: of("tun", {
      type: data.type,
      persistent: data.persist,
      vnetHeader: data.vnet_hdr,
      multiQueue: data.multi_queue,
    }),
    port: port && {
      learning: port.learning,
      flood: port.flood,
      isolated: port.isolated,
      hairpin: port.hairpin,
      neighSuppress: port.neigh_suppress,
    },
  };
}

function expectLinksAgree(scratch: Scratch): void {
  const names = scratch.names();
  expectAgreement(
    () => scratch.route.links().map((link) => ours(link, names)),
    () => scratch.json("ip -j -d link show").map(theirs),
  );
}

function kindTest(title: string, need: NewLink, work: () => void): void {
  const lacking = lacksKind(need);
  test.skipIf(lacking !== undefined)(lacking === undefined ? title : `${title} (${lacking})`, work);
}

describe.skipIf(notRoot !== undefined)(`links${notRoot === undefined ? "" : ` (${notRoot})`}`, () => {
  test("an empty namespace has its loopback, and questions by name and index agree", () => {
    using scratch = new Scratch();
    expectLinksAgree(scratch);
    expect(scratch.route.link("lo")).toEqual(scratch.route.link(1) as LinkInfo);
    expect(scratch.route.link("nothing")).toBeUndefined();
    expect(scratch.route.link(4711)).toBeUndefined();
    expect(scratch.route.link("a-name-of-17-bytes")).toBeUndefined();
    expect(scratch.route.addresses({ linkIndex: 4711 })).toEqual([]);
    expect(scratch.route.neighbours({ linkIndex: 4711 })).toEqual([]);
    expect(scratch.route.fdb({ linkIndex: 4711 })).toEqual([]);
  });

  test("bridge with ports: settings at creation and later", () => {
    using scratch = new Scratch();
    const { route } = scratch;
    route.request(
      addLink({
        name: "br0",
        type: "bridge",
        stp: false,
        vlanFiltering: false,
        mac: parseMac("02:00:00:00:00:11"),
        mtuBytes: 1400,
        alias: "causeway",
        addrGen: "none",
        up: true,
      }),
    );
    const bridge = scratch.index("br0");
    route.request(
      addLink({
        name: "v0",
        type: "veth",
        peer: { name: "v1", mac: parseMac("02:00:00:00:00:12"), mtuBytes: 1400 },
        mtuBytes: 1400,
        master: bridge,
        port: { isolated: true, learning: false, neighSuppress: true },
        alias: "causeway",
        up: true,
      }),
    );
    expectLinksAgree(scratch);
    expect(route.link("v0")).toMatchObject({
      master: bridge,
      alias: "causeway",
      up: true,
      port: { isolated: true, learning: false, neighSuppress: true, hairpin: false, flood: true },
    });
    // With addrGen none no link-local address was made.
    expect(scratch.json("ip -j addr show dev br0")[0].addr_info).toEqual([]);

    route.request(setLink({ name: "v0", port: { isolated: false, hairpin: true } }));
    expectLinksAgree(scratch);
    expect(scratch.json("bridge -j -d link show dev v0")[0]).toMatchObject({
      isolated: false,
      hairpin: true,
    });

    route.request(setLink({ name: "v0", master: 0 }));
    expect(route.link("v0")?.master).toBeUndefined();
    expect(route.link("v0")?.port).toBeUndefined();

    // A new master and port settings in one request.
    route.request(
      setLink({ name: "v1", master: bridge, port: { learning: false }, up: true, mtuBytes: 1300 }),
    );
    expect(route.link("v1")).toMatchObject({ master: bridge, mtuBytes: 1300, port: { learning: false } });
    // Linux before 6.2 renames only what is down.
    route.request(setLink({ name: "v1", up: false }));
    route.request(setLink({ index: scratch.index("v1"), newName: "renamed", alias: "" }));
    expect(route.link("renamed")?.alias).toBeUndefined();
    expectLinksAgree(scratch);

    route.request(deleteLink({ name: "v0" }));
    route.request(deleteLink({ index: bridge }));
    expect(route.links().map((link) => link.name)).toEqual(["lo"]);
  });

  kindTest("bridge that filters by VLAN", { name: "x", type: "bridge", vlanFiltering: true }, () => {
    using scratch = new Scratch();
    scratch.route.request(addLink({ name: "br0", type: "bridge", vlanFiltering: true }));
    expectLinksAgree(scratch);
    scratch.route.request(
      setLink({ name: "br0", kind: { type: "bridge", vlanFiltering: false, stp: true } }),
    );
    const seen = { vlanFiltering: false, stp: true, mcastSnooping: true };
    expect(scratch.route.link("br0")?.bridge).toEqual({ ...seen, defaultPvid: 1 });
    scratch.route.request(setLink({ name: "br0", kind: { type: "bridge", defaultPvid: 0 } }));
    expect(scratch.route.link("br0")?.bridge).toEqual({ ...seen, defaultPvid: 0 });
    expectLinksAgree(scratch);
  });

  test("address generation is set before the link comes up", () => {
    using scratch = new Scratch();
    const { route } = scratch;
    route.request(addLink({ name: "br0", type: "bridge" }));
    route.request(setLink({ name: "br0", up: true, addrGen: "none" }));
    expect(route.link("br0")).toMatchObject({ up: true, addrGen: "none" });
    expect(scratch.json("ip -j addr show dev br0")[0].addr_info).toEqual([]);
  });

  test("veth with its other end in another namespace", () => {
    using scratch = new Scratch();
    const far = scratch.another();
    scratch.route.request(addLink({ name: "near", type: "veth", peer: { name: "far", netns: far } }));
    expectLinksAgree(scratch);
    expect(scratch.route.link("near")?.peerNetnsId).toBeNumber();
    using there = Rtnetlink.open({ netns: far });
    expect(there.link("far")?.parent).toBe(scratch.index("near"));
    // Moving a link keeps it.
    scratch.route.request(setLink({ name: "near", netns: far }));
    expect(there.link("near")?.kind).toBe("veth");
    expect(scratch.route.link("near")).toBeUndefined();
  });

  kindTest("vxlan, IPv4 and IPv6", { name: "x", type: "vxlan", vni: 1, local: parseIp("10.0.0.1") }, () => {
    using scratch = new Scratch();
    const { route } = scratch;
    route.request(
      addLink({ name: "vx4", type: "vxlan", vni: 77, local: parseIp("10.0.0.1"), learning: false, up: true }),
    );
    route.request(
      addLink({
        name: "vx6",
        type: "vxlan",
        vni: 0xffffff,
        local: parseIp("fd00::1"),
        remote: parseIp("fd00::2"),
        dstPort: 8472,
        ttl: 9,
      }),
    );
    expectLinksAgree(scratch);
    route.request(
      setLink({ name: "vx4", kind: { type: "vxlan", local: parseIp("10.0.0.2"), learning: true } }),
    );
    expect(route.link("vx4")?.vxlan).toMatchObject({
      vni: 77,
      local: parseIp("10.0.0.2"),
      learning: true,
      dstPort: 4789,
    });
    expectLinksAgree(scratch);
  });

  const veth: NewLink = { name: "up0", type: "veth", peer: { name: "up1" }, up: true };

  kindTest("macvlan, all modes", veth, () => {
    using scratch = new Scratch();
    scratch.route.request(addLink(veth));
    for (const mode of ["bridge", "private", "vepa", "passthru"] as const) {
      const parent = scratch.index("up0");
      scratch.route.request(addLink({ name: "mv0", type: "macvlan", parent, mode }));
      expect(scratch.route.link("mv0")).toMatchObject({ parent, macvlan: { mode } });
      expectLinksAgree(scratch);
      scratch.route.request(deleteLink({ name: "mv0" }));
    }
  });

  kindTest("vlan", { name: "x", type: "vlan", parent: 1, vlanId: 5 }, () => {
    using scratch = new Scratch();
    scratch.route.request(addLink(veth));
    scratch.route.request(addLink({ name: "v5", type: "vlan", parent: scratch.index("up0"), vlanId: 4094 }));
    expectLinksAgree(scratch);
  });

  kindTest("vrf, with a member", { name: "x", type: "vrf", table: 10 }, () => {
    using scratch = new Scratch();
    scratch.route.request(addLink(veth));
    scratch.route.request(addLink({ name: "red", type: "vrf", table: 70000, up: true }));
    scratch.route.request(setLink({ name: "up0", master: scratch.index("red") }));
    expectLinksAgree(scratch);
  });

  kindTest("dummy", { name: "x", type: "dummy" }, () => {
    using scratch = new Scratch();
    scratch.route.request(addLink({ name: "d0", type: "dummy", up: true, alias: "causeway" }));
    expectLinksAgree(scratch);
  });

  kindTest("wireguard", { name: "x", type: "wireguard" }, () => {
    using scratch = new Scratch();
    scratch.route.request(addLink({ name: "wg0", type: "wireguard", mtuBytes: 1380, alias: "causeway" }));
    expect(scratch.route.link("wg0")).toMatchObject({ kind: "wireguard", mtuBytes: 1380 });
    expectLinksAgree(scratch);
  });

  test("tun: persistent, in another namespace, with its flags", () => {
    using scratch = new Scratch();
    const options = { netns: scratch.netns, vnetHeader: true, multiQueue: true };
    createTun("t0", options);
    createTun("t1", { netns: scratch.netns });
    expectLinksAgree(scratch);
    expect(() => createTun("t0", options)).toThrow(/t0: device or resource busy \(EBUSY\)/);
    {
      using queue = attachTun("t0", options);
      using second = attachTun("t0", options);
      expect(queue.number).not.toBe(second.number);
    }
    scratch.route.request(setLink({ name: "t0", up: true, mtuBytes: 1300, alias: "causeway" }));
    expect(scratch.route.link("t0")).toMatchObject({ up: true, mtuBytes: 1300, alias: "causeway" });
    deleteTun("t0", options);
    scratch.route.request(deleteLink({ name: "t1" }));
    expect(scratch.route.links()).toHaveLength(1);
    expect(() => createTun("a-name-of-17-bytes", { netns: scratch.netns })).toThrow(/1 to 15 bytes/);
  });

  test("the kernel's own words are in the errors", () => {
    using scratch = new Scratch();
    const { route } = scratch;
    const long = refusal(() => route.request(addLink({ name: "a-name-of-17-bytes", type: "bridge" })));
    expect(long.extendedAck).toBeString();
    expect(long.message).toStartWith("Cannot add bridge link a-name-of-17-bytes: ");
    expect(long.message).toContain(long.extendedAck as string);
    const missing = refusal(() => route.request(deleteLink({ name: "nothing" })));
    expect(missing).toMatchObject({ errno: 19, code: "ENODEV" });
    expect(missing.message).toBe("Cannot delete link nothing: no such device (ENODEV)");
  });

  test("a link whose second step is refused does not stay, and one that exists is not touched", () => {
    using scratch = new Scratch();
    const { route } = scratch;
    const [half] = route.execute([
      // Port settings without a bridge.
      addLink({ name: "half", type: "bridge", alias: "causeway", port: { isolated: true } }),
    ]);
    expect(half).toBeDefined();
    expect(route.link("half")).toBeUndefined();
    scratch.text("ip link add other type bridge");
    const before = route.link("other");
    const [taken] = route.execute([addLink({ name: "other", type: "bridge", alias: "causeway", up: true })]);
    expect(taken?.code).toBe("EEXIST");
    expect(route.link("other")).toEqual(before as LinkInfo);
  });

  test("no descriptor leaks, also when opening or asking fails", () => {
    const before = openDescriptions();
    {
      using scratch = new Scratch();
      for (let i = 0; i < 50; i++) {
        using route = Rtnetlink.open({ netns: scratch.netns });
        expect(route.execute([deleteLink({ name: "nothing" })])[0]?.code).toBe("ENODEV");
      }
      expect(() => attachTun("lo", { netns: scratch.netns })).toThrow();
    }
    expect(openDescriptions()).toEqual(before);
  });
});
