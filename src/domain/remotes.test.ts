import { expect, test } from "bun:test";
import type { KernelObject } from "../engine/mod.ts";
import { type Ip, type Mac, mac, parseInterfaceAddress, parseIp, parsePrefix } from "../net/mod.ts";
import type { Domain, DomainNode, LocalAttachment, Remote, Segment } from "./model.ts";
import { routerMac } from "./names.ts";
import { Remotes } from "./remotes.ts";

const targets = { importTargets: [], exportTargets: [] };
const segment = (vni: number, third: number): Segment => ({
  ...targets,
  name: `net${vni}`,
  vni,
  prefixes: [parsePrefix(`10.1.${third}.0/24`), parsePrefix(`fd00:${third}::/64`)],
  gateways: [parseInterfaceAddress(`10.1.${third}.1/24`), parseInterfaceAddress(`fd00:${third}::1/64`)],
  gatewayMac: mac(0x0200_0000_00fe),
});
const domain: Domain = {
  name: "blue",
  vni: 5000,
  routing: targets,
  segments: [segment(101, 1), segment(102, 2)],
  peerings: [],
};
const node: DomainNode = { vtep: parseIp("192.0.2.1"), underlayLink: "nic", underlayMtuBytes: 1500 };
const far = parseIp("192.0.2.2");
const farMac = routerMac(far);

const host = (vni: number, ip: string | undefined, more: Partial<Remote> = {}): Remote =>
  ({
    kind: "host",
    vni,
    mac: mac(0x0a58_0000_0001),
    ...(ip !== undefined && { ip: parseIp(ip) }),
    vtep: far,
    routerMac: farMac,
    ...more,
  }) as Remote;

/** The world that follows from all deltas so far, as one line for each object. */
class World {
  readonly remotes = new Remotes(domain, node);
  readonly objects = new Map<string, KernelObject>();
  readonly guard = new Set<string>();
  #changed = 0;

  tell(op: "set" | "remove", ...list: Remote[]): this {
    for (const remote of list) this.remotes.tell({ op, remote });
    return this.settle();
  }

  settle(): this {
    const { objects, guard } = this.remotes.take();
    const put = new Set(objects.put.map(keyOf));
    for (const object of objects.drop) if (!put.has(keyOf(object))) this.objects.delete(keyOf(object));
    for (const object of objects.put) this.objects.set(keyOf(object), object);
    const allowed = new Set(guard.put.map(keyOf));
    for (const element of guard.drop) if (!allowed.has(keyOf(element))) this.guard.delete(keyOf(element));
    for (const key of allowed) this.guard.add(key);
    this.#changed = objects.put.length;
    return this;
  }

  get changed(): number {
    return this.#changed;
  }

  get keys(): string[] {
    return [...this.objects.keys()].sort();
  }
}

function keyOf(object: KernelObject): string {
  switch (object.kind) {
    case "fdb":
      return `fdb ${object.link} ${object.mac.toString(16)}${object.mac === 0 ? ` ${object.dst?.value}` : ""}${object.both === true ? " both" : ""}`;
    case "neighbour":
      return `neighbour ${object.link} ${object.ip.value.toString(16)}`;
    case "route":
      return `route ${object.destination.value.toString(16)}/${object.destination.length} ${object.metric}`;
    case "element":
      return `${object.set} ${object.key.join(" ")}`;
    default:
      throw new Error(`nothing of what is elsewhere is a ${object.kind}`);
  }
}

test("a host is routed, also when its segment comes here and it becomes a neighbour too", () => {
  const world = new World().tell("set", host(102, "10.1.2.7"));
  const station = farMac.toString(16);
  const routed = [
    `fdb vx5000 ${station} both`,
    "neighbour br5000 c0000202",
    // The same VTEP as a next hop of IPv6.
    "neighbour br5000 ffffc0000202",
    "route a010207/32 1023",
  ];
  expect(world.keys).toEqual(routed);
  expect([...world.guard]).toEqual([`vxlan4 192.0.2.2 ${5000 * 256}`]);
  world.remotes.setActive(102, true);
  const near = ["fdb vx102 a5800000001 both", "neighbour br102 a010207"];
  expect(world.settle().keys).toEqual([...near, ...routed].sort());
  expect([...world.guard].sort()).toEqual([
    `vxlan4 192.0.2.2 ${5000 * 256}`,
    `vxlan4 192.0.2.2 ${102 * 256}`,
  ]);
  world.remotes.setActive(102, false);
  expect(world.settle().keys).toEqual(routed);
  expect(world.tell("remove", host(102, "10.1.2.7")).keys).toEqual([]);
  expect([...world.guard]).toEqual([]);
});

test("a router stays while anything needs it, and each change costs what it changes", () => {
  const world = new World();
  const list = Array.from({ length: 200 }, (_, i) =>
    host(102, `10.1.2.${i + 2}`, { mac: mac(0x0a58_0000_0100 + i) }),
  );
  world.tell("set", ...list);
  expect(world.keys).toHaveLength(203);
  world.tell("set", host(102, "10.1.2.250"));
  expect(world.changed).toBe(1);
  world.tell("remove", host(102, "10.1.2.250"), ...list.slice(1));
  expect(world.keys).toHaveLength(4);
  expect(world.tell("remove", list[0] as Remote).keys).toEqual([]);
});

test("two addresses of one station: the station stays with the last of them", () => {
  const world = new World();
  world.remotes.setActive(101, true);
  world.tell("set", host(101, "10.1.1.7"), host(101, "fd00:1::7"), host(101, undefined));
  const near = () => world.keys.filter((key) => key.includes("101 "));
  expect(near()).toHaveLength(3);
  world.tell("remove", host(101, "10.1.1.7"), host(101, undefined));
  expect(near()).toEqual([
    "fdb vx101 a5800000001 both",
    `neighbour br101 ${parseIp("fd00:1::7").value.toString(16)}`,
  ]);
});

test("what is attached here hides what is told of it elsewhere, until it goes", () => {
  const world = new World();
  world.remotes.setActive(101, true);
  world.tell("set", host(101, "10.1.1.7"));
  const attachment = {
    id: "x",
    segment: 101,
    mac: mac(0x0a58_0000_0001),
    addresses: [parseIp("10.1.1.7")],
  } as unknown as LocalAttachment;
  world.remotes.attach(attachment);
  expect(world.settle().keys).toEqual([]);
  world.tell("set", host(101, "10.1.1.7", { vtep: parseIp("192.0.2.3") } as Partial<Remote>));
  expect(world.keys).toEqual([]);
  world.remotes.detach(attachment);
  // As any other: station, neighbour, route, and its router's station and neighbours.
  expect(world.settle().keys).toHaveLength(6);
});

test("what nobody may be told is told in vain", () => {
  const world = new World();
  world.remotes.setActive(101, true);
  world.remotes.setActive(102, true);
  world.tell(
    "set",
    host(101, "10.1.1.1", { mac: mac(0x0200_0000_00fe) } as Partial<Remote>),
    host(101, "10.1.1.9", { mac: 0 as Mac } as Partial<Remote>),
    host(101, "10.1.1.10", { mac: mac(0x0100_5e00_0001) } as Partial<Remote>),
    host(101, "10.1.1.11", { vtep: node.vtep } as Partial<Remote>),
    host(101, "10.1.1.12", { vtep: parseIp("fd00::2") } as Partial<Remote>),
    host(999, "10.1.1.13"),
    { kind: "flood", vni: 101, vtep: node.vtep },
    { kind: "prefix", vni: 5000, prefix: parsePrefix("10.9.0.0/16"), hops: [] },
  );
  expect(world.keys).toEqual([]);
  // The router's address of this node is not taken by another, nor is an address outside of the segment.
  world.remotes.setActive(102, false);
  world.tell("set", host(102, "8.8.8.8"));
  expect(world.keys).toEqual([]);
});

test("networks go by all their routers; a host and a network of one address are two routes", () => {
  const world = new World();
  const third = parseIp("192.0.2.3");
  const hops = [
    { vtep: far, routerMac: farMac },
    { vtep: third, routerMac: routerMac(third) },
    { vtep: node.vtep, routerMac: routerMac(node.vtep) },
    { vtep: far, routerMac: farMac },
  ];
  const prefix = parsePrefix("10.1.2.7/32");
  world.tell("set", { kind: "prefix", vni: 5000, prefix, hops }, host(102, "10.1.2.7"));
  expect(world.keys.filter((key) => key.startsWith("route"))).toEqual([
    "route a010207/32 1023",
    "route a010207/32 1024",
  ]);
  const route = world.objects.get("route a010207/32 1024") as { hops?: readonly unknown[] };
  expect(route.hops).toHaveLength(2);
  world.tell("set", { kind: "prefix", vni: 5000, prefix, hops: hops.slice(1, 2) });
  world.tell("remove", host(102, "10.1.2.7"));
  expect([...world.guard]).toEqual([`vxlan4 192.0.2.3 ${5000 * 256}`]);
  world.remotes.clear();
  expect(world.settle().keys).toEqual([]);
  expect([...world.guard]).toEqual([]);
});

test("any order of telling ends in the same world", () => {
  const seed = 7;
  let state = seed;
  const random = (most: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * most);
  };
  const vteps = [2, 3].map((last) => parseIp(`192.0.2.${last}`));
  const all: Remote[] = [101, 102].flatMap((vni, at): Remote[] => [
    ...vteps.map((vtep): Remote => ({ kind: "flood", vni, vtep })),
    ...[3, 4, 5, 6].map((last) => {
      const vtep = vteps[last % 2] as Ip;
      const own = { vtep, routerMac: routerMac(vtep), mac: mac(0x0a58_0000_0000 + vni * 256 + last) };
      return host(vni, `10.1.${at + 1}.${last}`, own as Partial<Remote>);
    }),
    {
      kind: "prefix",
      vni: 5000,
      prefix: parsePrefix(`10.${50 + at}.0.0/16`),
      hops: [{ vtep: vteps[at] as Ip, routerMac: routerMac(vteps[at] as Ip) }],
    },
  ]);
  const world = new World();
  const told = new Set<Remote>();
  const active = new Set<number>();
  for (let i = 0; i < 2000; i++) {
    const remote = all[random(all.length)] as Remote;
    if (random(10) === 0) {
      const vni = 101 + random(2);
      if (active.delete(vni)) world.remotes.setActive(vni, false);
      else world.remotes.setActive(vni, active.add(vni).has(vni));
      world.settle();
    } else if (told.delete(remote)) world.tell("remove", remote);
    else world.tell("set", told.add(remote) && remote);
    if (i % 50 !== 0) continue;
    const fresh = new World();
    for (const vni of active) fresh.remotes.setActive(vni, true);
    fresh.tell("set", ...told);
    expect([i, world.keys]).toEqual([i, fresh.keys]);
    expect([...world.guard].sort()).toEqual([...fresh.guard].sort());
  }
});
