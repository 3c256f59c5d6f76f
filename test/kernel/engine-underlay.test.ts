/** VXLAN of one namespace that sends and receives in another: made, kept, changed, replaced, and found by a second engine. */
import { describe, expect, test } from "bun:test";
import { Engine, type KernelObject, type Link } from "../../src/engine/mod.ts";
import { parseIp } from "../../src/net/mod.ts";
import { addLink, Rtnetlink } from "../../src/netlink/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

const bridge: KernelObject = {
  kind: "link",
  name: "br5",
  type: "bridge",
  stp: false,
  mcastSnooping: false,
  mtuBytes: 1400,
};
const vxlan: Link = {
  kind: "link",
  name: "vx5",
  type: "vxlan",
  vni: 5,
  local: parseIp("192.0.2.1"),
  learning: false,
  underlay: true,
  mtuBytes: 1400,
  addrGen: "none",
  master: "br5",
  port: { learning: false, neighSuppress: true },
};

function world() {
  const scratch = new Scratch();
  const inside = scratch.another();
  const underlay = Rtnetlink.open({ netns: scratch.netns });
  const open = (alone = false) =>
    Engine.open({
      netns: inside,
      underlay,
      mark: { alias: "causeway", protocol: 67, ...(alone && { alone }) },
    });
  return {
    scratch,
    inside,
    open,
    shown: () => scratch.json("ip -j -d link show vx5", inside)[0],
    [Symbol.dispose]() {
      underlay.close();
      scratch[Symbol.dispose]();
    },
  };
}

describe.skipIf(notRoot !== undefined)(`VXLAN with its socket elsewhere${suffix}`, () => {
  test("the device is in one namespace, its UDP port in the other", () => {
    using here = world();
    using engine = here.open();
    engine.set("a", [bridge, vxlan]);
    expect(engine.apply().failed).toEqual([]);
    expect(here.scratch.text("ss -Hlun sport = 4789")).toContain(":4789");
    expect(here.scratch.text("ss -Hlun sport = 4789", here.inside)).toBe("");
    expect(here.shown()).toMatchObject({
      master: "br5",
      mtu: 1400,
      ifalias: "causeway",
      flags: expect.arrayContaining(["UP"]),
    });
    expect(here.scratch.text("bridge -d link show dev vx5", here.inside)).toMatch(
      /learning off.*neigh_suppress on/,
    );
    expect(engine.round().applied).toBe(0);
    engine.set("a", [bridge, { ...vxlan, local: parseIp("192.0.2.9"), mtuBytes: 1300 }]);
    const { ifindex } = here.shown();
    expect(engine.apply().failed).toEqual([]);
    expect(here.shown()).toMatchObject({
      ifindex,
      mtu: 1300,
      linkinfo: { info_data: { local: "192.0.2.9" } },
    });
    engine.set("a", [bridge, { ...vxlan, dstPort: 4790 }]);
    expect(engine.apply().failed).toEqual([]);
    expect(here.shown().ifindex).not.toBe(ifindex);
    expect(here.scratch.text("ss -Hlun sport = 4789")).toBe("");
    engine.set("a", []);
    expect(engine.apply().failed).toEqual([]);
    expect(here.scratch.text("ss -Hlun sport = 4790")).toBe("");
  });

  test("a second engine finds nothing to do", () => {
    using here = world();
    using first = here.open();
    first.set("a", [bridge, vxlan]);
    first.apply();
    using second = here.open();
    second.set("a", [bridge, vxlan]);
    expect(second.plan()).toEqual({ steps: [], blocked: [] });
  });

  test("a VNI that is taken in the underlay's namespace is refused, and nothing stays", () => {
    using here = world();
    const { route } = here.scratch;
    route.request(addLink({ name: "other", type: "vxlan", vni: 5, dstPort: 4789, learning: false }));
    using engine = here.open();
    engine.set("a", [bridge, vxlan]);
    expect(engine.apply().failed).toMatchObject([
      { key: "link vx5", reason: expect.stringContaining("EEXIST") },
    ]);
    expect(here.scratch.text("ip -br link", here.inside)).not.toContain("vx5");
  });

  test("what a crash left unmarked is ours where the namespace is ours alone, and somebody else's elsewhere", () => {
    using here = world();
    using inside = Rtnetlink.open({ netns: here.inside });
    inside.request(addLink({ name: "br5", type: "bridge" }));
    using careful = here.open();
    careful.set("a", [bridge]);
    expect(careful.apply().failed).toMatchObject([{ reason: expect.stringContaining("not ours") }]);
    using engine = here.open(true);
    engine.set("a", [bridge]);
    expect(engine.apply().failed).toEqual([]);
    expect(inside.link("br5")?.alias).toBe("causeway");
  });
});
