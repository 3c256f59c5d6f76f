/** Shaping as desired state: token buckets and redirection, kept against a kernel that others change. tc(8) is the judge. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Engine, formatPlan, type KernelObject } from "../../src/engine/mod.ts";
import { Monitor, type RouteEvent } from "../../src/netlink/mod.ts";
import { type Json, lacksKind, lacksTool, notRoot, Scratch } from "../support/scratch.ts";

const cannot = notRoot ?? lacksTool("tc") ?? lacksKind({ name: "x", type: "ifb" });

const bucket = { rateBytesPerSecond: 2_500_000, burstBytes: 16_384, limitBytes: 62_500 };
const hostEnd: KernelObject = { kind: "link", name: "va", type: "external" };
const queue: KernelObject = { kind: "link", name: "ifb9", type: "ifb", mtuBytes: 1400, addrGen: "none" };
const outward: KernelObject = { kind: "qdisc", link: "va", type: "tbf", ...bucket };
const inward: KernelObject = { kind: "qdisc", link: "ifb9", type: "tbf", ...bucket };
const detour: KernelObject = { kind: "filter", link: "va", redirect: "ifb9" };
const objects = [hostEnd, queue, outward, inward, detour];

let scratch: Scratch;
let engine: Engine;

beforeEach(() => {
  if (cannot !== undefined) return;
  scratch = new Scratch();
  scratch.text("ip link add name va type veth peer name vb");
  scratch.text("ip link set vb up");
  engine = Engine.open({ netns: scratch.netns });
});

afterEach(() => {
  if (cannot !== undefined) return;
  engine[Symbol.dispose]();
  scratch[Symbol.dispose]();
});

function sh(command: string): string {
  return scratch.text(command);
}

function links(): string[] {
  return scratch.json("ip -j link").map(({ ifname }: Json) => ifname);
}

/** The qdiscs that somebody set, and the filters, as tc(8) tells them. */
function world(): string[] {
  const qdiscs = scratch
    .json("tc -j qdisc show")
    .filter(({ handle }: Json) => handle !== "0:")
    .map(({ dev, kind, handle, options }: Json) => `${dev} ${kind} ${handle} ${options.rate ?? ""}`.trim());
  const filters = links().flatMap((dev) =>
    scratch
      .json(`tc -j filter show dev ${dev} ingress`)
      .filter(({ options }: Json) => options?.actions !== undefined)
      .map(
        ({ pref, options: { fh, match, actions } }: Json) =>
          `${dev} pref ${pref} ${fh} match ${match.mask} to ${actions[0].to_dev}`,
      ),
  );
  return [...qdiscs, ...filters].sort();
}

const made = [
  "ifb9 tbf 43: 2500000",
  "va clsact ffff:",
  "va pref 67 800::43 match 0 to ifb9",
  "va tbf 43: 2500000",
];

/** Waits until something holds; the runner's time-out is the limit. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(5);
}

const isMade = () => Bun.deepEquals(world(), made);

describe.skipIf(cannot !== undefined)(`shaping${cannot === undefined ? "" : ` (skipped: ${cannot})`}`, () => {
  test("is made, kept by a second engine without a word to the kernel, and removed", () => {
    const before = links();
    engine.set("pod", objects);
    expect(engine.apply().failed).toEqual([]);
    expect(world()).toEqual(made);
    const events: RouteEvent[] = [];
    using monitor = Monitor.open({
      netns: scratch.netns,
      groups: ["tc"],
      onEvent: (event) => events.push(event),
      onOverrun: () => {},
    });
    expect(engine.apply().applied).toBe(0);
    expect(engine.round().applied).toBe(0);
    using second = Engine.open({ netns: scratch.netns });
    second.set("pod", objects);
    expect(formatPlan(second.plan({ prune: true }))).toBe("");
    expect(second.sweep().applied).toBe(0);
    monitor.drain();
    expect(events).toEqual([]);
    engine.remove("pod");
    expect(engine.apply().failed).toEqual([]);
    // What holds filters has no mark; it goes with its link.
    expect(world()).toEqual(["va clsact ffff:"]);
    expect(links()).toEqual(before);
    expect(engine.plan({ prune: true }).steps).toEqual([]);
  });

  test("is planned in the words of tc(8), which accepts each line", () => {
    engine.set("pod", objects);
    const plan = formatPlan(engine.plan());
    expect(plan).toBe(`ip link set va alias "causeway external" up
ip link add ifb9 mtu 1400 type ifb
ip link set ifb9 addrgenmode none
ip link set ifb9 alias causeway up
tc qdisc add dev va root handle 43: tbf rate 2500000bps burst 16384b limit 62500b
tc qdisc add dev ifb9 root handle 43: tbf rate 2500000bps burst 16384b limit 62500b
tc qdisc add dev va clsact
tc filter add dev va ingress pref 67 protocol all handle ::43 u32 match u32 0 0 action mirred egress redirect dev ifb9
`);
    for (const line of plan.trim().split("\n")) {
      const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? "");
      const done = scratch.netns.run(() => Bun.spawnSync(words));
      expect([line, done.stderr.toString()]).toEqual([line, ""]);
    }
    expect(formatPlan(engine.plan({ prune: true }))).toBe("");
  });

  test("a new agent that wants nothing removes it, only when asked", () => {
    engine.set("pod", objects);
    engine.apply();
    using other = Engine.open({ netns: scratch.netns });
    expect(other.apply().applied).toBe(0);
    expect(world()).toEqual(made);
    expect(other.sweep().failed).toEqual([]);
    expect(world()).toEqual(["va clsact ffff:"]);
    expect(links()).not.toContain("ifb9");
  });

  test("a changed rate is changed in place", () => {
    engine.set("pod", objects);
    engine.apply();
    engine.set("pod", [hostEnd, queue, { ...outward, rateBytesPerSecond: 5_000_000 } as KernelObject]);
    expect(formatPlan(engine.plan()))
      .toBe(`tc filter del dev va ingress pref 67 protocol all handle 800::43 u32
tc qdisc del dev ifb9 root handle 43:
tc qdisc change dev va root handle 43: tbf rate 5000000bps burst 16384b limit 62500b
`);
    expect(engine.apply().failed).toEqual([]);
    expect(world()).toEqual(["va clsact ffff:", "va tbf 43: 5000000"]);
  });

  test("rates beyond 32 bits and bursts of 4 GiB are read back as they were asked for", () => {
    for (const wanted of [
      { rateBytesPerSecond: 125, burstBytes: 0xffff_ffff, limitBytes: 0xffff_ffff },
      { rateBytesPerSecond: 12_500_000_001, burstBytes: 125_000_000, limitBytes: 312_500_000 },
      { rateBytesPerSecond: 125_000_000_000_000, burstBytes: 0xffff_ffff, limitBytes: 0xffff_ffff },
    ]) {
      engine.set("pod", [{ kind: "qdisc", link: "va", type: "tbf", ...wanted }]);
      expect(engine.apply().failed).toEqual([]);
      expect(scratch.json("tc -j qdisc show dev va")[0].options.rate).toBe(wanted.rateBytesPerSecond);
      expect(engine.round().applied).toBe(0);
    }
  });

  // Each happens once: five repairs of one object in ten seconds are called somebody's insistence.
  for (const [what, commands] of Object.entries({
    "a qdisc that is removed": ["tc qdisc del dev va root"],
    "a qdisc that is changed": ["tc qdisc change dev va root handle 43: tbf rate 1gbit burst 1m limit 1m"],
    "a qdisc of another kind with our handle": [
      "tc qdisc del dev va root",
      "tc qdisc add dev va root handle 43: pfifo limit 5",
    ],
    "a filter that is removed": ["tc filter del dev va ingress pref 67 handle 800::43 u32"],
    "filters that are removed by preference": ["tc filter del dev va ingress pref 67"],
    "filters that are all removed": ["tc filter del dev va ingress"],
    "what holds filters": ["tc qdisc del dev va clsact"],
    "a filter that takes less": [
      "tc filter del dev va ingress pref 67",
      "tc filter add dev va ingress pref 67 protocol all handle ::43 u32 match u32 1 1 action mirred egress redirect dev ifb9",
    ],
    "a filter that leads elsewhere": [
      "tc filter replace dev va ingress pref 67 protocol all handle 800::43 u32 match u32 0 0 action mirred egress redirect dev vb",
    ],
    "the link that it leads to": ["ip link del ifb9"],
  }))
    test(`repairs ${what}`, async () => {
      engine.set("pod", objects);
      engine.apply();
      engine.start();
      for (const command of commands) sh(command);
      expect(isMade()).toBe(false);
      await until(isMade);
      expect(engine.status().filter(({ state }) => state !== "ready")).toEqual([]);
      // The mirror, too, knows it all: reading anew finds nothing else.
      expect(engine.round().applied).toBe(0);
    });

  test("repairs a link that is renamed; the one under the other name is pruned", () => {
    engine.set("pod", objects);
    engine.apply();
    // Before Linux 6.2 only a link that is down can be renamed.
    sh("ip link set ifb9 down");
    sh("ip link set ifb9 name other9");
    expect(engine.apply().failed).toEqual([]);
    expect(world()).toEqual([made[0], "other9 tbf 43: 2500000", ...made.slice(1)] as string[]);
    engine.sweep();
    expect(world()).toEqual(made);
  });

  test("what goes with a link and comes back with it", async () => {
    engine.set("pod", objects);
    engine.apply();
    engine.start();
    sh("ip link del va");
    expect(engine.plan().blocked.map(({ key }) => key)).toEqual([
      "link va",
      "qdisc va root",
      "filter va ingress",
    ]);
    sh("ip link add name va type veth peer name vb");
    sh("ip link set vb up");
    await until(isMade);
  });

  test("others' qdiscs and filters stay, with or without ours", () => {
    sh("tc qdisc add dev va root handle 1: htb");
    sh("tc qdisc add dev va ingress");
    sh(
      "tc filter add dev va ingress pref 5 protocol all u32 match u32 1 1 action mirred egress redirect dev vb",
    );
    const before = world();
    engine.set("pod", objects);
    expect(engine.apply().failed.map(({ reason }) => reason)).toEqual([
      "Cannot add qdisc tbf on va: somebody else set htb 1:; remove that one",
    ]);
    expect(world()).toEqual(["ifb9 tbf 43: 2500000", ...before, "va pref 67 801::43 match 0 to ifb9"].sort());
    engine.remove("pod");
    engine.sweep();
    expect(world()).toEqual(before);
  });
});
