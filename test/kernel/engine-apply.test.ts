/** The engine against the real kernel: what ip(8), bridge(8) and nft(8) print is the judge. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Engine, formatPlan, type KernelObject } from "../../src/engine/mod.ts";
import { parseInterfaceAddress, parseIp, parseMac, parsePrefix } from "../../src/net/mod.ts";
import { Monitor, type RouteEvent } from "../../src/netlink/mod.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

const cannot = notRoot ?? lacksTool("ip") ?? lacksTool("bridge") ?? lacksTool("nft");

const pods = parseInterfaceAddress("10.244.1.1/24");
const remote = parseIp("10.244.1.2");

/** One object of every kind that needs no module which may be missing. */
const everything: readonly KernelObject[] = [
  { kind: "sysctl", path: "net/ipv4/ip_forward", value: "1" },
  { kind: "sysctl", path: "net/ipv6/conf/cw-pods/accept_ra", value: "0" },
  { kind: "link", name: "cw-pods", type: "bridge", mtuBytes: 1400 },
  {
    kind: "link",
    name: "cwa",
    type: "veth",
    peer: { name: "cwb", mac: parseMac("02:00:00:00:00:0b") },
    master: "cw-pods",
    addrGen: "none",
    port: { isolated: true },
  },
  { kind: "link", name: "cwb", type: "external" },
  {
    kind: "link",
    name: "vx5",
    type: "vxlan",
    vni: 5,
    local: pods.ip,
    learning: false,
    addrGen: "none",
    master: "cw-pods",
    port: { neighSuppress: true, learning: false },
  },
  { kind: "link", name: "mv0", type: "macvlan", parent: "cwb", mode: "bridge", up: false },
  { kind: "address", link: "cw-pods", address: pods },
  { kind: "address", link: "cw-pods", address: parseInterfaceAddress("fd00:244:1::1/64") },
  { kind: "address", link: "cw-pods", address: parseInterfaceAddress("fd00:244:2::1/128"), deprecated: true },
  {
    kind: "route",
    destination: parsePrefix("10.5.0.0/16"),
    hops: [{ via: remote, dev: "cw-pods" }],
    mtuBytes: 1300,
  },
  {
    kind: "route",
    destination: parsePrefix("10.6.0.0/16"),
    hops: [{ via: remote }, { dev: "cw-pods", weight: 3 }],
  },
  { kind: "route", destination: parsePrefix("10.7.0.0/16"), type: "blackhole", table: 100, metric: 7 },
  { kind: "route", destination: parsePrefix("10.8.0.0/16"), nexthopId: 9 },
  { kind: "route", destination: parsePrefix("fd05::/48"), hops: [{ via: parseIp("fd00:244:1::2") }] },
  {
    kind: "route",
    destination: parsePrefix("fd06::/48"),
    hops: [{ via: parseIp("fd00:244:1::2") }, { via: parseIp("fd00:244:1::3"), weight: 3 }],
  },
  { kind: "route", destination: parsePrefix("fd07::/48"), type: "unreachable" },
  { kind: "nexthop", id: 7, via: parseIp("10.244.1.7"), dev: "cw-pods" },
  { kind: "nexthop", id: 8, via: parseIp("10.244.1.8"), dev: "cw-pods" },
  { kind: "nexthop", id: 9, group: [{ id: 7 }, { id: 8, weight: 2 }] },
  { kind: "neighbour", link: "cw-pods", ip: remote, mac: parseMac("02:00:00:00:00:02") },
  {
    kind: "neighbour",
    link: "cw-pods",
    ip: parseIp("fd00:244:1::2"),
    mac: parseMac("02:00:00:00:00:02"),
    externLearn: true,
  },
  { kind: "fdb", link: "vx5", mac: parseMac("00:00:00:00:00:00"), dst: parseIp("10.0.0.5") },
  { kind: "fdb", link: "vx5", mac: parseMac("00:00:00:00:00:00"), dst: parseIp("10.0.0.6") },
  {
    kind: "fdb",
    link: "vx5",
    mac: parseMac("02:00:00:00:00:05"),
    dst: parseIp("10.0.0.5"),
    externLearn: true,
  },
  { kind: "fdb", link: "vx5", mac: parseMac("02:00:00:00:00:05"), master: true, externLearn: true },
  {
    kind: "fdb",
    link: "vx5",
    mac: parseMac("02:00:00:00:00:07"),
    dst: parseIp("10.0.0.5"),
    both: true,
    externLearn: true,
  },
  { kind: "fdb", link: "cwa", mac: parseMac("02:00:00:00:00:06"), master: true },
  { kind: "rule", family: 4, priority: 100, from: parsePrefix("10.0.0.0/8"), table: 100 },
  { kind: "rule", family: 6, priority: 101, iif: "cw-pods", fwmark: 5, fwmask: 255, table: 100 },
  {
    kind: "ruleset",
    family: "bridge",
    text: `set pods { type ifname . ether_addr; }
map fate { type ipv4_addr : verdict; }
chain input {
  type filter hook input priority 0; policy accept;
  iifname . ether saddr @pods counter accept
}`,
  },
  { kind: "element", family: "bridge", set: "pods", key: ["cwa", "02:00:00:00:00:06"] },
  { kind: "element", family: "bridge", set: "fate", key: ["10.9.9.9"], value: "drop" },
];

let scratch: Scratch;
let engine: Engine;

/** What the tools print, without what changes by itself. */
function world(): string {
  const lines = [
    "ip -4 route show table all",
    "ip -6 route",
    "ip nexthop",
    "ip rule",
    "ip -6 rule",
    "ip -br link",
    "ip -br addr",
  ]
    .flatMap((command) => scratch.text(command).split("\n"))
    // The operational state follows up to a second later (net/core/link_watch.c).
    .map((line) =>
      line
        .trim()
        .replaceAll(/ +/g, " ")
        .replace(/^(\S+) (?:UP|DOWN|UNKNOWN|LOWERLAYERDOWN)\b/, "$1"),
    )
    .filter((line) => line !== "" && !/fe80::|ff00::/.test(line));
  return `${lines.sort().join("\n")}\n${scratch.text("nft list ruleset")}`;
}

function lines(command: string, pattern: RegExp): string[] {
  return scratch
    .text(command)
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => pattern.test(line));
}

beforeEach(() => {
  if (cannot !== undefined) return;
  scratch = new Scratch();
  scratch.text("ip link set lo up");
  engine = Engine.open({ netns: scratch.netns });
});

afterEach(() => {
  if (cannot !== undefined) return;
  engine[Symbol.dispose]();
  scratch[Symbol.dispose]();
});

describe.skipIf(cannot !== undefined)(`engine${cannot === undefined ? "" : ` (skipped: ${cannot})`}`, () => {
  test("makes one of every kind, as the tools see it", () => {
    engine.set("all", everything);
    expect(engine.apply().failed).toEqual([]);
    expect(engine.status().filter((status) => status.state !== "ready")).toEqual([]);
    expect(lines("ip -d link show cw-pods", /alias|mtu/).join(" ")).toMatch(/UP.* mtu 1400 .*alias causeway/);
    expect(lines("ip -d link show vx5", /vxlan id/).join()).toContain("vxlan id 5 local 10.244.1.1");
    expect(lines("bridge -d link show dev cwa", /isolated/).join()).toContain("isolated on");
    expect(scratch.text("ip -4 addr show cw-pods")).toContain("inet 10.244.1.1/24");
    expect(lines("ip route", /proto 67/)).toEqual([
      "10.5.0.0/16 via 10.244.1.2 dev cw-pods proto 67 mtu 1300",
      "10.6.0.0/16 proto 67",
      "10.8.0.0/16 nhid 9 proto 67",
    ]);
    expect(lines("ip route show table 100", /./)).toEqual(["blackhole 10.7.0.0/16 proto 67 metric 7"]);
    expect(lines("ip rule", /100/)).toEqual(["100:\tfrom 10.0.0.0/8 lookup 100 proto 67"]);
    expect(lines("ip -4 neigh show dev cw-pods nud permanent", /./)).toEqual([
      "10.244.1.2 lladdr 02:00:00:00:00:02 PERMANENT proto 67",
    ]);
    expect(lines("bridge fdb show dev vx5", /00:00:00:00:00:00/).sort()).toEqual([
      "00:00:00:00:00:00 dst 10.0.0.5 self permanent",
      "00:00:00:00:00:00 dst 10.0.0.6 self permanent",
    ]);
    expect(scratch.text("nft list table bridge causeway")).toContain(
      'elements = { "cwa" . 02:00:00:00:00:06 }',
    );
    expect(scratch.text("cat /proc/sys/net/ipv4/ip_forward").trim()).toBe("1");
  });

  test("applying an unchanged state emits no netlink change at all", async () => {
    engine.set("all", everything);
    engine.apply();
    const events: RouteEvent[] = [];
    using monitor = Monitor.open({
      netns: scratch.netns,
      onEvent: (event) => events.push(event),
      onOverrun: () => {},
    });
    await quiet(events);
    const before = scratch.text("nft -a list ruleset");
    expect(engine.apply().applied).toBe(0);
    engine.set("all", [...everything]);
    expect(engine.apply("all").applied).toBe(0);
    engine.adopt();
    expect(engine.apply().applied).toBe(0);
    expect(engine.round().applied).toBe(0);
    expect(formatPlan(engine.plan({ prune: true }))).toBe("");
    expect(engine.sweep().applied).toBe(0);
    monitor.drain();
    expect(events).toEqual([]);
    expect(scratch.text("nft -a list ruleset")).toBe(before);
    engine.remove("all");
    engine.apply();
    monitor.drain();
    expect(events).not.toEqual([]);
  }, 30_000);

  test("an agent that restarts finds nothing to do", () => {
    engine.set("all", everything);
    engine.apply();
    using restarted = Engine.open({ netns: scratch.netns });
    restarted.set("all", everything);
    expect(formatPlan(restarted.plan({ prune: true }))).toBe("");
    expect(restarted.apply({ prune: true }).applied).toBe(0);
    expect(restarted.status().filter((status) => status.state !== "ready")).toEqual([]);
  });

  test("uninstall leaves the namespace as it was found", () => {
    const before = world();
    engine.set("all", everything);
    engine.apply();
    expect(world()).not.toBe(before);
    engine.remove("all");
    expect(engine.apply().failed).toEqual([]);
    expect(world()).toBe(before);
    expect(scratch.text("cat /proc/sys/net/ipv4/ip_forward").trim()).toBe("0");
    expect(engine.plan({ prune: true }).steps).toEqual([]);
  });

  test("uninstall by an agent that has restarted leaves settings as the first one found them", () => {
    const folder = mkdtempSync(join(tmpdir(), "causeway-engine-"));
    const options = { netns: scratch.netns, settingsFile: join(folder, "settings.json") };
    const forwarding = () => scratch.text("cat /proc/sys/net/ipv4/ip_forward").trim();
    try {
      using first = Engine.open(options);
      first.set("all", everything);
      first.apply();
      using second = Engine.open(options);
      second.set("all", everything);
      expect([second.apply({ prune: true }).applied, forwarding()]).toEqual([0, "1"]);
      second.remove("all");
      expect(second.apply().failed).toEqual([]);
      expect([forwarding(), readdirSync(folder)]).toEqual(["0", []]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a new agent that wants nothing removes all that carries the mark, only when asked", () => {
    const before = world();
    engine.set("all", everything);
    engine.apply();
    const made = world();
    using other = Engine.open({ netns: scratch.netns });
    other.adopt();
    expect(other.apply().applied).toBe(0);
    expect(world()).toBe(made);
    expect(other.sweep().failed).toEqual([]);
    expect(world()).toBe(before);
  });

  test("the plan shows what apply does, and no secret", () => {
    engine.set("all", everything);
    const plan = formatPlan(engine.plan());
    expect(plan).toContain(
      "ip link add cw-pods type bridge\nip link set cw-pods mtu 1400 alias causeway up\n",
    );
    expect(plan).toContain(`ip link add cwa master cw-pods type veth peer name cwb address 02:00:00:00:00:0b
ip link set cwa addrgenmode none
ip link set cwa alias causeway up
bridge link set dev cwa isolated on
`);
    expect(plan).toContain("ip route add 10.5.0.0/16 via 10.244.1.2 dev cw-pods proto 67 mtu 1300\n");
    expect(plan).toContain(
      "ip route add 10.6.0.0/16 proto 67 nexthop via 10.244.1.2 weight 1 nexthop dev cw-pods weight 3\n",
    );
    expect(plan).toContain('nft add element bridge causeway pods { "cwa" . 02:00:00:00:00:06 }\n');
    expect(plan).toContain("sysctl -w net/ipv4/ip_forward=1\n");
    expect(engine.plan().blocked).toEqual([]);
    expect(scratch.text("ip -br link").trim().split("\n")).toHaveLength(1);
  });

  test("what is planned can be typed: the tools accept every line", () => {
    const typed = everything.filter(
      (object) => object.kind !== "address" && object.kind !== "ruleset" && object.kind !== "element",
    );
    engine.set("all", [...typed, ...everything.filter((object) => object.kind === "address")]);
    for (const line of formatPlan(engine.plan()).trim().split("\n")) {
      // iproute2 before 6.3 knows no protocol of addresses.
      const command = line.startsWith("ip address") ? line.replace(" proto 67", "") : line;
      const words = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? "");
      const done = scratch.netns.run(() => Bun.spawnSync(words));
      expect([line, done.stderr.toString()]).toEqual([line, ""]);
    }
    // No event tells of an alias that is set on a link that is down.
    engine.adopt();
    expect(formatPlan(engine.plan())).toBe("");
  });
});

/**
 * Waits until new links have stopped telling of themselves. Between two words of one lie up to two seconds: address detection waits for a random
 * part of a second and then for one (addrconf_dad_kick of net/ipv6/addrconf.c), and the carrier's state is told once a second (link_watch.c).
 */
async function quiet(events: RouteEvent[]): Promise<void> {
  do {
    events.length = 0;
    await Bun.sleep(2500);
  } while (events.length > 0);
}
