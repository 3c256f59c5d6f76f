/** Drift, foreign objects, failure and replacement: the engine against a kernel that others change behind its back. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Engine, formatPlan, type KernelObject, type Link, type ObjectStatus } from "../../src/engine/mod.ts";
import { parseInterfaceAddress, parseIp, parseMac, parsePrefix } from "../../src/net/mod.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

const cannot = notRoot ?? lacksTool("ip") ?? lacksTool("bridge") ?? lacksTool("nft");

let scratch: Scratch;
let engine: Engine;
let changes: ObjectStatus[];

const bridge: Link = { kind: "link", name: "br5", type: "bridge", mtuBytes: 1400 };
const vxlan: Link = {
  kind: "link",
  name: "vx5",
  type: "vxlan",
  vni: 5,
  local: parseIp("10.9.0.1"),
  master: "br5",
};
const onBridge: KernelObject = {
  kind: "address",
  link: "br5",
  address: parseInterfaceAddress("10.9.0.1/24"),
};
const onBridge6: KernelObject = {
  kind: "address",
  link: "br5",
  address: parseInterfaceAddress("fd09::1/64"),
};
const viaBridge: KernelObject = {
  kind: "route",
  destination: parsePrefix("10.50.0.0/16"),
  hops: [{ via: parseIp("10.9.0.2"), dev: "br5" }],
};
const viaBridge6: KernelObject = {
  kind: "route",
  destination: parsePrefix("fd50::/48"),
  hops: [{ dev: "br5" }],
};
const others: readonly KernelObject[] = [vxlan, onBridge, onBridge6, viaBridge, viaBridge6];
const objects: readonly KernelObject[] = [bridge, ...others];

function sh(command: string): string {
  return scratch.text(command);
}

/** Waits until something holds; the runner's time-out is the limit. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(5);
}

function states(): Record<string, string> {
  return Object.fromEntries(engine.status().map((status) => [status.key, status.state]));
}

function expectAllReady(): void {
  expect(engine.status().filter((status) => status.state !== "ready")).toEqual([]);
  expect(formatPlan(engine.plan({ prune: true }))).toBe("");
}

beforeEach(() => {
  if (cannot !== undefined) return;
  scratch = new Scratch();
  sh("ip link set lo up");
  changes = [];
  engine = Engine.open({ netns: scratch.netns, onChange: (status) => changes.push(status) });
});

afterEach(() => {
  if (cannot !== undefined) return;
  engine[Symbol.dispose]();
  scratch[Symbol.dispose]();
});

describe.skipIf(cannot !== undefined)(`engine${cannot === undefined ? "" : ` (skipped: ${cannot})`}`, () => {
  test("drift is repaired from events", async () => {
    engine.set("all", objects);
    engine.apply();
    engine.start();
    sh("ip route del 10.50.0.0/16");
    await until(() => sh("ip route show proto 67").includes("10.50.0.0/16 via 10.9.0.2 dev br5"));
    sh("ip link set br5 mtu 1300");
    await until(() => sh("ip link show br5").includes("mtu 1400"));
    sh("ip addr del 10.9.0.1/24 dev br5");
    await until(
      () => sh("ip -4 addr show br5").includes("10.9.0.1/24") && sh("ip route").includes("10.50.0.0/16"),
    );
    sh("ip link del vx5");
    await until(() => sh("ip -br link").includes("vx5"));
    sh("ip route replace 10.50.0.0/16 dev br5 proto static");
    await until(() => engine.status().some((status) => status.state === "failed"));
    expect(changes.find((status) => status.state === "failed")?.reason).toBe(
      "Cannot add route 10.50.0.0/16 via 10.9.0.2 dev br5: already exists (EEXIST); what is there is not ours: remove it, or choose another name, priority or metric",
    );
  });

  test("what goes without an event when a link goes down is found", async () => {
    engine.set("all", objects);
    engine.apply();
    engine.start();
    sh("ip link set br5 down");
    await until(() => sh("ip route").includes("10.50.0.0/16") && sh("ip -6 route").includes("fd50::/48"));
    await until(() => sh("ip -6 addr show br5").includes("fd09::1"));
    expectAllReady();
  });

  test("a link that is removed comes back with all that was on it", async () => {
    engine.set("all", objects);
    engine.apply();
    engine.start();
    sh("ip link del br5");
    await until(() => sh("ip route").includes("10.50.0.0/16") && sh("ip -6 addr").includes("fd09::1"));
    expect(sh("ip link show vx5")).toContain("master br5");
    expectAllReady();
  });

  test("a changed VNI means a new device, and its addresses and entries are made again", () => {
    const flood = {
      kind: "fdb",
      link: "vx5",
      mac: parseMac("00:00:00:00:00:00"),
      dst: parseIp("10.9.0.7"),
    } as const;
    const onVxlan: KernelObject = {
      kind: "address",
      link: "vx5",
      address: parseInterfaceAddress("10.55.0.1/24"),
    };
    const behind: KernelObject = {
      kind: "route",
      destination: parsePrefix("10.56.0.0/16"),
      hops: [{ via: parseIp("10.55.0.2") }],
    };
    engine.set("all", [bridge, onBridge, { ...vxlan, master: null }, onVxlan, behind, flood]);
    expect(engine.apply().failed).toEqual([]);
    const index = scratch.index("vx5");
    const changed = { ...vxlan, master: null, vni: 6 } as Link;
    engine.set("all", [bridge, onBridge, changed, onVxlan, behind, flood]);
    expect(formatPlan(engine.plan())).toBe(`ip link del vx5
ip link add vx5 type vxlan id 6 local 10.9.0.1 dstport 4789
ip link set vx5 alias causeway up
ip address add 10.55.0.1/24 dev vx5 proto 67
ip route add 10.56.0.0/16 via 10.55.0.2 proto 67
bridge fdb append 00:00:00:00:00:00 dev vx5 dst 10.9.0.7 self permanent
`);
    expect(engine.apply().failed).toEqual([]);
    expect(scratch.index("vx5")).not.toBe(index);
    expect(sh("ip -d link show vx5")).toContain("vxlan id 6");
    expect(sh("ip addr show vx5")).toContain("10.55.0.1/24");
    expect(sh("ip route")).toContain("10.56.0.0/16 via 10.55.0.2 dev vx5 proto 67");
    expect(sh("bridge fdb show dev vx5")).toContain("00:00:00:00:00:00 dst 10.9.0.7");
    expectAllReady();
  });

  test("an entry of the device and of its bridge is one object: either half comes back, both move and go", async () => {
    // A kernel that filters VLANs would have the bridge's half once more, for the VLAN that ports begin with.
    const objects: readonly KernelObject[] = [{ ...bridge, defaultPvid: 0 } as Link, ...others];
    const mac = "02:00:00:00:00:77";
    const pair = {
      ...({ kind: "fdb", link: "vx5", mac: parseMac(mac), dst: parseIp("10.9.0.7") } as const),
      ...({ both: true, externLearn: true } as const),
    };
    const halves = () => {
      const found = sh("bridge fdb show dev vx5")
        .split("\n")
        .filter((line) => line.startsWith(mac));
      return found.map((line) => line.replace(/^\S+ /, "").trim()).sort();
    };
    const here = ["dst 10.9.0.7 self extern_learn", "extern_learn master br5"];
    engine.set("all", [...objects, pair]);
    expect(engine.apply().failed).toEqual([]);
    expect(halves().map((line) => line.replace(/ +permanent/, ""))).toEqual(here);
    engine.start();
    for (const half of ["self", "master"]) {
      sh(`bridge fdb del ${mac} dev vx5 ${half === "self" ? "dst 10.9.0.7 self" : "master"}`);
      expect(halves()).toHaveLength(1);
      await until(() => halves().length === 2);
    }
    // Pruning knows the bridge's half as wanted.
    expect(engine.sweep().applied).toBe(0);
    engine.set("all", [...objects, { ...pair, dst: parseIp("10.9.0.8") }]);
    expect(engine.apply().failed).toEqual([]);
    expect(halves().join()).toContain("dst 10.9.0.8");
    expect(halves()).toHaveLength(2);
    expectAllReady();
    engine.set("all", objects);
    expect(engine.apply().failed).toEqual([]);
    expect(halves()).toEqual([]);
  });

  test("what can change in place keeps its device", () => {
    engine.set("all", [bridge, onBridge, vxlan]);
    engine.apply();
    const index = scratch.index("vx5");
    engine.set("all", [
      { ...bridge, mtuBytes: 1300 },
      onBridge,
      { ...vxlan, learning: false, mac: parseMac("02:00:00:00:00:55"), port: { neighSuppress: true } },
    ]);
    expect(formatPlan(engine.plan())).toBe(`ip link set br5 mtu 1300
ip link set vx5 address 02:00:00:00:00:55 type vxlan nolearning
bridge link set dev vx5 neigh_suppress on
`);
    expect(engine.apply().failed).toEqual([]);
    expect(scratch.index("vx5")).toBe(index);
    expect(sh("ip -d link show vx5")).toContain("nolearning");
    expectAllReady();
  });

  test("foreign objects are never touched", () => {
    sh("ip link add theirs type bridge");
    sh("ip link set theirs up");
    sh("ip addr add 10.1.1.1/24 dev theirs");
    sh("ip route add 10.77.0.0/16 via 10.1.1.2 proto static");
    sh("ip route add 10.78.0.0/16 via 10.1.1.2 proto static");
    sh("ip rule add priority 5 from 10.3.0.0/16 table 7");
    sh("ip neigh add 10.1.1.9 lladdr 02:00:00:00:00:09 dev theirs");
    sh("nft add table inet theirs");
    const before = [
      "ip link",
      "ip -4 addr",
      "ip route",
      "ip rule",
      "ip neigh show nud permanent",
      "nft list ruleset",
    ].map(sh);
    engine.set("all", [
      { kind: "link", name: "theirs", type: "bridge", mtuBytes: 1300 },
      { kind: "route", destination: parsePrefix("10.78.0.0/16"), hops: [{ via: parseIp("10.1.1.3") }] },
      { kind: "neighbour", link: "theirs", ip: parseIp("10.1.1.9"), mac: parseMac("02:00:00:00:00:0a") },
    ]);
    const reasons = engine.apply({ prune: true }).failed.map((status) => status.reason);
    expect(reasons[0]).toBe(
      "Cannot add link theirs: the name is taken by a link of kind bridge that is not ours; rename or remove that one",
    );
    expect(reasons[1]).toMatch(/^Cannot add route 10\.78\.0\.0\/16 .*EEXIST/);
    expect(reasons[2]).toBe(
      "Cannot add neighbour 10.1.1.9 on theirs: somebody else set it; remove that entry",
    );
    engine.remove("all");
    expect(engine.sweep().applied).toBe(0);
    expect(
      ["ip link", "ip -4 addr", "ip route", "ip rule", "ip neigh show nud permanent", "nft list ruleset"].map(
        sh,
      ),
    ).toEqual(before);
  });

  test("a bad object stops no other, says why, and gets ready once its reason is gone", async () => {
    const unreachable: KernelObject = {
      kind: "route",
      destination: parsePrefix("10.60.0.0/16"),
      hops: [{ via: parseIp("192.0.2.1") }],
    };
    const orphan: KernelObject = {
      kind: "address",
      link: "nowhere",
      address: parseInterfaceAddress("10.61.0.1/24"),
    };
    engine.set("all", [...objects, unreachable, orphan]);
    const { failed } = engine.apply();
    expect(failed.map(({ key, reason }) => ({ key, reason }))).toEqual([
      {
        key: "route 10.60.0.0/16",
        reason: expect.stringContaining("Nexthop has invalid gateway") as unknown as string,
      },
    ]);
    expect(failed[0]?.nextTryMs).toBeGreaterThanOrEqual((failed[0]?.sinceMs ?? 0) + 1000);
    expect(states()["address nowhere 10.61.0.1/24"]).toBe("pending");
    expect(states()["route 10.50.0.0/16"]).toBe("ready");
    engine.start();
    sh("ip addr add 192.0.2.9/24 dev br5");
    await until(() => states()["route 10.60.0.0/16"] === "ready");
    sh("ip link add nowhere type bridge");
    await until(() => states()["address nowhere 10.61.0.1/24"] === "ready");
    expect(sh("ip addr show nowhere")).toContain("10.61.0.1/24");
  });

  test("one scope is applied without the others, and is removed alone", () => {
    engine.set("a", [bridge, onBridge]);
    engine.set("b", [bridge, vxlan]);
    expect(engine.apply("a").applied).toBe(2);
    expect(states()["link vx5"]).toBe("pending");
    engine.apply();
    engine.remove("a");
    engine.apply("a");
    expect(sh("ip -br link")).toContain("br5");
    expect(sh("ip addr show br5")).not.toContain("10.9.0.1");
    expect(engine.scopes()).toEqual(["b"]);
  });

  test("an element that is bad stops no other; a value changes; a foreign flush is repaired by the full round", () => {
    const text = "map fate { type ipv4_addr : verdict; }\nchain c { ip saddr vmap @fate; }";
    const at = (key: string, value: string): KernelObject => ({
      kind: "element",
      family: "inet",
      set: "fate",
      key: [key],
      value,
    });
    engine.set("all", [
      { kind: "ruleset", family: "inet", text },
      at("10.0.0.1", "drop"),
      at("rubbish", "drop"),
      at("10.0.0.2", "accept"),
    ]);
    const { failed } = engine.apply();
    expect(failed.map((status) => status.key)).toEqual(["element inet fate rubbish"]);
    expect(sh("nft list map inet causeway fate")).toMatch(/10\.0\.0\.1 : drop,\s+10\.0\.0\.2 : accept/);
    engine.set("all", [
      { kind: "ruleset", family: "inet", text },
      at("10.0.0.1", "accept"),
      at("10.0.0.3", "drop"),
    ]);
    expect(engine.apply().failed).toEqual([]);
    expect(sh("nft list map inet causeway fate")).toMatch(/10\.0\.0\.1 : accept,\s+10\.0\.0\.3 : drop/);
    const loaded = sh("nft list ruleset");
    sh("nft flush ruleset");
    engine.round();
    expect(sh("nft list ruleset")).toBe(loaded);
    sh("nft add rule inet causeway c drop");
    sh("nft delete element inet causeway fate { 10.0.0.3 }");
    engine.round();
    expect(sh("nft list ruleset")).toBe(loaded);
  });

  test("a TUN device is made, kept and replaced", () => {
    const tun: Link = { kind: "link", name: "cwt0", type: "tun", mtuBytes: 1380, addrGen: "none" };
    const address: KernelObject = {
      kind: "address",
      link: "cwt0",
      address: parseInterfaceAddress("10.99.0.1/32"),
    };
    engine.set("all", [tun, address]);
    expect(engine.apply().failed).toEqual([]);
    expect(sh("ip -d link show cwt0")).toMatch(/mtu 1380[^]*tun type tun[^]*persist on/);
    expectAllReady();
    engine.set("all", [{ ...tun, multiQueue: true, vnetHeader: true }, address]);
    expect(engine.apply().failed).toEqual([]);
    expect(sh("ip -d link show cwt0")).toMatch(/vnet_hdr on[^]*multi_queue/);
    expect(sh("ip addr show cwt0")).toContain("10.99.0.1/32");
    expectAllReady();
    engine.remove("all");
    engine.apply();
    expect(sh("ip -br link")).not.toContain("cwt0");
  });

  test("when events are lost, everything is read anew", async () => {
    engine.set("all", objects);
    engine.apply();
    engine.start();
    const file = `${scratch.folder}/flood`;
    const flood = [...Array(30_000).keys()].map(
      (i) => `route add blackhole 11.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`,
    );
    await Bun.write(file, `${flood.join("\n")}\nroute del 10.50.0.0/16\n`);
    sh(`ip -batch ${file}`);
    await until(() => sh("ip route show proto 67").includes("10.50.0.0/16"));
    expectAllReady();
  }, 30_000);

  test("who insists on drift is answered with back-off, not for ever", async () => {
    engine.set("all", [bridge]);
    engine.apply();
    engine.start();
    const insists = setInterval(() => sh("ip link set br5 mtu 1200"), 30);
    try {
      await until(() => states()["link br5"] === "failed");
    } finally {
      clearInterval(insists);
    }
    expect(engine.status()[0]?.reason).toContain("somebody else changes it again and again");
    await until(() => states()["link br5"] === "ready");
    expect(sh("ip link show br5")).toContain("mtu 1400");
  });
});
