/** The short way of frames from other nodes to pods: who goes it, who does not, and that all arrive. A table of ours counts what the bridge sees of VXLAN. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { MOST_SHORT_WAYS, shortWays } from "../../src/domain/mod.ts";
import type { Mac } from "../../src/net/mod.ts";
import { loadClassifier } from "../../src/sys/mod.ts";
import { type Host, pings, segment, vpc } from "../support/domain-lab.ts";
import { notRoot } from "../support/scratch.ts";
import { ServicesLab } from "../support/services-lab.ts";

setDefaultTimeout(240_000);
const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const net = segment("net", 101, ["10.1.1.0/24", "fd00:1:1::/64"]);
const blue = vpc("blue", 5000, [net]);
const anything = [4, 6].flatMap(() =>
  (["egress", "ingress"] as const).map((direction) => ({
    ...{ direction, prefixes: [], groups: [], protocol: "any" as const, ports: [] },
  })),
);

describe.skipIf(notRoot !== undefined)(`domains: the short way${suffix}`, () => {
  let world: ServicesLab;
  let here: Host;
  let far: ReturnType<typeof pod>;

  const pod = (host: Host, name: string, address: string) =>
    world.lab.pod(host, name, { domain: blue, segment: net, addresses: [address] });
  const ways = () => /way-[0-9a-f]+/.exec(here.text("tc filter show dev vx101 ingress", 5000))?.[0];
  /** Packets to an address that came to the bridge from VXLAN, while somebody there was pinged. */
  function bridged(address: string): number {
    here.text("nft add table bridge watch", 5000);
    here.text("nft add chain bridge watch c { type filter hook prerouting priority -500 ; }", 5000);
    here.text(`nft add rule bridge watch c iifname vx101 ip daddr ${address} counter`, 5000);
    expect(pings(far, address, "-c 3 -W 5 -i 0.01")).toBe(true);
    const counted = /packets (\d+)/.exec(here.text("nft list table bridge watch", 5000))?.[1];
    here.text("nft delete table bridge watch", 5000);
    return Number(counted);
  }
  function begin(programs: boolean): void {
    world = new ServicesLab(2, { programs });
    world.set({ domains: [blue], groups: [{ name: "all", rules: anything }] });
    here = world.lab.host(1);
    far = pod(world.lab.host(2), "far", "10.1.1.9");
  }

  beforeEach(() => begin(true));
  afterEach(() => {
    expect(world.problems()).toEqual([]);
    world[Symbol.dispose]();
  });

  test("frames of other nodes go past the bridge, and the program follows who comes and goes", () => {
    pod(here, "a", "10.1.1.2");
    world.lab.sync();
    expect(bridged("10.1.1.2")).toBe(0);
    const one = ways();
    pod(here, "b", "10.1.1.3");
    world.lab.sync();
    expect(ways()).not.toBe(one);
    expect([bridged("10.1.1.2"), bridged("10.1.1.3")]).toEqual([0, 0]);
    world.lab.remove(here, "b");
    expect(ways()).toBe(one);
    expect(one).toBeDefined();
    world.restart(here);
    expect(ways()).toBe(one);
    world.lab.sync();
    expect(bridged("10.1.1.2")).toBe(0);
    expect(world.plain).toEqual([]);
  });

  test("who is in a group hears by the bridge, others beside it do not", () => {
    world.groupsAt.set("10.1.1.4", ["all"]);
    pod(here, "a", "10.1.1.2");
    pod(here, "guarded", "10.1.1.4");
    world.lab.sync();
    expect(bridged("10.1.1.2")).toBe(0);
    expect(bridged("10.1.1.4")).toBeGreaterThan(0);
  });

  test("a station that is elsewhere is not led to its old place, and is again when it is back", () => {
    pod(here, "a", "10.1.1.2");
    world.lab.sync();
    const before = ways();
    const mac = here.pods.get("a")?.attachment.mac as Mac;
    here.domains.setElsewhere(101, mac, true);
    expect(ways()).toBeUndefined();
    here.domains.setElsewhere(101, mac, false);
    expect(ways()).toBe(before);
  });

  test("where the kernel refuses a program all goes by the bridge, and it is told once", () => {
    pod(here, "a", "10.1.1.2");
    world.lab.sync();
    // Somebody else's filter is in our place.
    here.text("tc qdisc del dev vx101 clsact", 5000);
    here.text("tc qdisc add dev vx101 clsact", 5000);
    here.text("tc filter add dev vx101 ingress pref 67 protocol arp u32 match u32 0 0", 5000);
    pod(here, "b", "10.1.1.3");
    pod(here, "c", "10.1.1.4");
    world.lab.sync();
    expect(world.plain).toHaveLength(1);
    expect([bridged("10.1.1.2"), bridged("10.1.1.3"), bridged("10.1.1.4")].every((count) => count > 0)).toBe(
      true,
    );
    expect(here.text("tc filter show dev vx101 ingress", 5000)).toContain("u32");
    here.problems.splice(0);
  });

  test("of more stations than a program looks through it has the first, in any order", () => {
    const stations = Array.from({ length: MOST_SHORT_WAYS + 10 }, (_, i) => ({
      mac: (0x0a58_0000_0000 + i * 0x1_0001) as Mac,
      linkIndex: i + 2,
    }));
    const { name, code } = shortWays(stations);
    using program = loadClassifier("ways", code);
    expect(program.number).toBeGreaterThan(0);
    const looked = stations.slice(0, MOST_SHORT_WAYS);
    expect(shortWays(looked.toReversed()).name).toBe(name);
    expect(shortWays(stations.slice(1)).name).not.toBe(name);
  });
});
