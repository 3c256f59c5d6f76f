/** Routes between BGP and the kernel: installed, changed, taken away, kept over a restart, and announced; ip(8) is the witness. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { Routers } from "../../src/bgp/mod.ts";
import { type BgpRouter, parseManifest } from "../../src/resources/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { joined } from "../support/bgp-ends.ts";
import { routerOf } from "../support/bgp-lab.ts";
import { type Json, lacksTool, notRoot, Scratch } from "../support/scratch.ts";

setDefaultTimeout(120_000);
const lacks = notRoot ?? lacksTool("ip");

/** until waits until something that is asked for is as it should be, and shows it if it never is. */
async function until(what: string, ask: () => unknown, wanted: unknown): Promise<void> {
  let found: unknown;
  for (let waited = 0; waited < 60_000; waited += 50) {
    found = ask();
    if (Bun.deepEquals(found, wanted)) return;
    await Bun.sleep(50);
  }
  throw new Error(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

/** Two namespaces with two links with addresses, and one without. */
const ends = () =>
  Scratch.prepared((scratch) => {
    const second = scratch.another();
    joined(scratch, { second, names: ["e1", "e2"], addresses: ["192.0.2.1/24", "192.0.2.2/24"] });
    joined(scratch, { second, names: ["f1", "f2"], addresses: ["198.51.100.1/24", "198.51.100.2/24"] });
    joined(scratch, { second, names: ["g1", "g2"] });
    return { first: scratch.netns, second };
  });

const families = { "ipv4-unicast": {}, "ipv6-unicast": {} };
const neighbor = (more: object) => ({ connectRetry: "1s", families, ...more });

/** One speaker of the two, AS 65001 in the first namespace and 65002 in the second. */
class Side implements Disposable {
  readonly #number: 1 | 2;
  readonly #netns: Netns;
  readonly #folder: string;
  #routers: Routers;
  readonly said: string[] = [];

  constructor(scratch: Scratch, number: 1 | 2, netns: Netns) {
    this.#number = number;
    this.#netns = netns;
    this.#folder = `${scratch.folder}-bgp-${number}`;
    this.#routers = this.#start();
  }

  #start(): Routers {
    return new Routers({
      folder: this.#folder,
      log: (event, fields) => this.said.push(`${event} ${JSON.stringify(fields)}`),
    });
  }

  set(spec: object): void {
    const text = routerOf({
      asn: 65000 + this.#number,
      routerId: `10.255.0.${this.#number}`,
      namespace: this.#netns.path,
      requirePolicy: false,
      ...spec,
    });
    const { resources, problems } = parseManifest(text);
    expect(problems).toEqual([]);
    const failed = this.#routers.set(resources.map(({ value }) => value as BgpRouter));
    expect([...failed]).toEqual([]);
  }

  /** Sets several routers by their names, and returns why some do not run. */
  failures(specs: readonly { readonly name: string }[]): string[] {
    const routers = specs.map(({ name, ...spec }) => {
      const [resource] = parseManifest(routerOf(spec)).resources;
      return { ...(resource?.value as BgpRouter), name };
    });
    return [...this.#routers.set(routers)].map(([name, error]) => `${name}: ${error.message}`);
  }

  /** Ends and begins again, as another process. */
  stop(): void {
    this.#routers.stop();
    this.#routers = this.#start();
  }

  remove(): void {
    this.#routers.set([]);
  }

  [Symbol.dispose](): void {
    this.#routers.stop();
    Bun.spawnSync(["rm", "-r", "-f", this.#folder]);
  }
}

/** The BGP routes of a namespace, each as the words that matter. */
function routesIn(scratch: Scratch, netns: Netns, table = "main"): string[] {
  // A table that was never used does not exist: no IPv6 goes into the other one.
  return (table === "main" ? ["-4", "-6"] : ["-4"]).flatMap((family) =>
    (scratch.json(`ip -j ${family} route show table ${table} proto bgp`, netns) as Json[]).map((route) => {
      const hops = (route.nexthops ?? [route]) as Json[];
      const ways = hops.map(({ gateway, via, dev }) => `${gateway ?? via?.host} ${dev}`).sort();
      return `${route.dst} ${ways.join(", ")}`;
    }),
  );
}

/** Monitor has what ip(8) tells of a namespace's routes as they change. */
class Monitor {
  readonly #process: Bun.Subprocess<"ignore", "pipe", "inherit">;
  readonly #reading: Promise<void>;
  told = "";

  /** It listens: what it says first shows it. */
  static async of(scratch: Scratch, netns: Netns): Promise<Monitor> {
    const monitor = new Monitor(netns);
    const listens = () => {
      scratch.text("ip route add 203.0.113.0/24 dev lo", netns);
      scratch.text("ip route del 203.0.113.0/24", netns);
      return monitor.told.includes("203.0.113.0/24");
    };
    await until("the monitor listens", listens, true);
    return monitor;
  }

  private constructor(netns: Netns) {
    const argv = ["nsenter", `--net=${netns.path}`, "ip", "monitor", "route"];
    this.#process = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const part of this.#process.stdout) this.told += Buffer.from(part).toString();
  }

  /** end returns all that was told of one destination. */
  async end(destination: string): Promise<string[]> {
    this.#process.kill();
    await this.#reading;
    return this.told.split("\n").filter((line) => line.includes(destination));
  }
}

const linkLocal = (scratch: Scratch, dev: string, netns: Netns): string =>
  (scratch.json(`ip -j -6 address show dev ${dev} scope link`, netns) as Json[])[0].addr_info[0].local;

const both = [
  neighbor({ address: "192.0.2.2", asn: 65002 }),
  neighbor({ address: "198.51.100.2", asn: 65002 }),
];
const back = [
  neighbor({ address: "192.0.2.1", asn: 65001, passive: true }),
  neighbor({ address: "198.51.100.1", asn: 65001, passive: true }),
];

describe.skipIf(lacks !== undefined)(
  `BGP and the kernel's routes${lacks === undefined ? "" : ` (${lacks})`}`,
  () => {
    test("best paths are installed with all their ways, and follow sessions, links and the resource", async () => {
      using pair = ends();
      using us = new Side(pair, 1, pair.first);
      using them = new Side(pair, 2, pair.second);
      const routes = () => routesIn(pair, pair.first);
      // What another one has put there stays, and wins where it is the same destination.
      pair.text("ip route add 10.9.0.0/16 via 192.0.2.9");
      us.set({ install: true, maximumPaths: 4, networks: ["10.1.0.0/16"], neighbors: both });
      them.set({ networks: ["10.2.0.0/16", "10.3.0.0/16", "10.1.0.0/16", "10.9.0.0/16"], neighbors: back });
      const ways = "192.0.2.2 e1, 198.51.100.2 f1";
      await until("both ways", routes, [`10.2.0.0/16 ${ways}`, `10.3.0.0/16 ${ways}`, `10.9.0.0/16 ${ways}`]);
      expect(pair.text("ip route get 10.9.0.1")).toContain("via 192.0.2.9");
      // Nothing was asked for there.
      expect(routesIn(pair, pair.second)).toEqual([]);
      them.set({ networks: ["10.2.0.0/16"], neighbors: back });
      await until("one is withdrawn", routes, [`10.2.0.0/16 ${ways}`]);
      // The session stays up for its hold time; the next hop is not reached any more.
      pair.text("ip link set f2 down", pair.second);
      await until("a link is down", routes, ["10.2.0.0/16 192.0.2.2 e1"]);
      pair.text("ip link set f2 up", pair.second);
      await until("and up again", routes, [`10.2.0.0/16 ${ways}`]);
      // Somebody else's hand is put right.
      pair.text("ip route del 10.2.0.0/16 proto bgp");
      await until("repaired", routes, [`10.2.0.0/16 ${ways}`]);
      us.set({ install: false, maximumPaths: 4, neighbors: both });
      await until("no longer wanted", routes, []);
      us.set({ install: true, installTable: 77, maximumPaths: 4, neighbors: both });
      // Nothing leads to the next hops in that table.
      pair.text("ip route add 192.0.2.0/24 dev e1 table 77");
      await until("another table", () => routesIn(pair, pair.first, "77"), ["10.2.0.0/16 192.0.2.2 e1"]);
      expect(routes()).toEqual([]);
      us.remove();
      await until("the router is gone", () => routesIn(pair, pair.first, "77"), []);
    });

    test("of two routers with one table the first has it", () => {
      using pair = ends();
      using us = new Side(pair, 1, pair.first);
      const wish = { namespace: pair.first.path, listen: [], install: true };
      const [first, second, third] = [
        { ...wish, name: "a" },
        { ...wish, name: "b" },
        { ...wish, name: "c", installTable: 77 },
      ];
      expect(us.failures([first, second, third])).toEqual([
        "b: router a puts its routes into table 254 too; give one another installTable",
      ]);
    });

    test("an unnumbered session gives IPv4 routes IPv6 next hops", async () => {
      using pair = ends();
      using us = new Side(pair, 1, pair.first);
      using them = new Side(pair, 2, pair.second);
      const listen = ["[::]:179"];
      us.set({ listen, install: true, neighbors: [neighbor({ interface: "g1", asn: "external" })] });
      them.set({
        listen,
        install: true,
        networks: ["10.2.0.0/16", "2001:db8:2::/48"],
        neighbors: [neighbor({ interface: "g2", asn: "external" })],
      });
      await until("there", () => routesIn(pair, pair.first), [
        `10.2.0.0/16 ${linkLocal(pair, "g2", pair.second)} g1`,
        `2001:db8:2::/48 ${linkLocal(pair, "g2", pair.second)} g1`,
      ]);
      expect(pair.text("ip route show 10.2.0.0/16")).toContain("via inet6 fe80::");
    });

    test("next hops behind other routers are looked up, and followed", async () => {
      using pair = ends();
      using us = new Side(pair, 1, pair.first);
      using them = new Side(pair, 2, pair.second);
      pair.text("ip address add 10.255.0.2/32 dev lo", pair.second);
      const far = { asn: 65001, routerId: "10.255.0.2", networks: ["10.2.0.0/16"] };
      us.set({ install: true, neighbors: [neighbor({ address: "10.255.0.2", asn: "internal" })] });
      pair.text("ip route add 192.0.2.1/32 dev e2 src 10.255.0.2", pair.second);
      them.set({
        ...far,
        neighbors: [neighbor({ address: "192.0.2.1", asn: "internal", passive: true, source: "10.255.0.2" })],
      });
      pair.text("ip route add 10.255.0.2/32 via 192.0.2.2");
      const routes = () => routesIn(pair, pair.first);
      await until("by the first link", routes, ["10.2.0.0/16 192.0.2.2 e1"]);
      pair.text("ip route replace 10.255.0.2/32 via 198.51.100.2");
      await until("by the other one", routes, ["10.2.0.0/16 198.51.100.2 f1"]);
      pair.text("ip route del 10.255.0.2/32");
      await until("not at all", routes, []);
    });

    test("a restart leaves no gap, and removes what is no longer announced", async () => {
      using pair = ends();
      using us = new Side(pair, 1, pair.first);
      using them = new Side(pair, 2, pair.second);
      const spec = { install: true, maximumPaths: 4, neighbors: both };
      us.set(spec);
      them.set({ networks: ["10.2.0.0/16", "10.3.0.0/16", "2001:db8:2::/48"], neighbors: back });
      const ways = "192.0.2.2 e1, 198.51.100.2 f1";
      const kept = [`10.2.0.0/16 ${ways}`, `10.3.0.0/16 ${ways}`];
      // Sessions of IPv4 addresses have the link's own as next hops of IPv6.
      const six = ["e", "f"].map((link) => `${linkLocal(pair, `${link}2`, pair.second)} ${link}1`);
      const all = [...kept, `2001:db8:2::/48 ${six.sort().join(", ")}`];
      await until("installed", () => routesIn(pair, pair.first), all);
      const monitor = await Monitor.of(pair, pair.first);
      us.stop();
      expect(routesIn(pair, pair.first)).toEqual(all);
      // Meanwhile one goes.
      them.set({ networks: ["10.2.0.0/16", "10.4.0.0/16"], neighbors: back });
      us.set(spec);
      await until("what is announced now", () => routesIn(pair, pair.first), [
        `10.2.0.0/16 ${ways}`,
        `10.4.0.0/16 ${ways}`,
      ]);
      await until("the monitor has told all", () => monitor.told.includes("Deleted 10.3.0.0/16"), true);
      // Not even replaced.
      expect(await monitor.end("10.2.0.0/16")).toEqual([]);
    });

    test("two that restart together leave no gap, whoever of them speaks first", async () => {
      using pair = ends();
      using us = new Side(pair, 1, pair.first);
      using them = new Side(pair, 2, pair.second);
      const [towards, from] = [both.slice(0, 1), back.slice(0, 1)];
      const ours = { install: true, networks: ["10.1.0.0/16"], neighbors: towards };
      // One that never comes has it wait for longer than we do, so that we have to speak first.
      const absent = neighbor({ address: "198.51.100.9", asn: 65009 });
      const theirs = { install: true, selectionDeferral: "8s", neighbors: [...from, absent] };
      us.set(ours);
      them.set({ ...theirs, networks: ["10.2.0.0/16", "10.3.0.0/16"] });
      const routes = () => [routesIn(pair, pair.first), routesIn(pair, pair.second)];
      const [here, there] = ["192.0.2.2 e1", "192.0.2.1 e2"];
      const before = [[`10.2.0.0/16 ${here}`, `10.3.0.0/16 ${here}`], [`10.1.0.0/16 ${there}`]];
      await until("installed", routes, before);
      const monitors = [await Monitor.of(pair, pair.first), await Monitor.of(pair, pair.second)];
      us.stop();
      them.stop();
      us.set(ours);
      them.set({ ...theirs, networks: ["10.2.0.0/16"] });
      await until("what is announced now", routes, [[`10.2.0.0/16 ${here}`], [`10.1.0.0/16 ${there}`]]);
      const ended = monitors.map((one, i) => one.end(["10.2.0.0/16", "10.1.0.0/16"][i] as string));
      expect(await Promise.all(ended)).toEqual([[], []]);
    });

    test("a router that begins anew with other terms keeps its neighbors' routes, but not of one that it has no more", async () => {
      using pair = ends();
      using us = new Side(pair, 1, pair.first);
      using them = new Side(pair, 2, pair.second);
      const spec = { networks: ["10.1.0.0/16"], neighbors: both };
      us.set(spec);
      them.set({ install: true, maximumPaths: 4, neighbors: back });
      const routes = () => routesIn(pair, pair.second);
      await until("both ways", routes, ["10.1.0.0/16 192.0.2.1 e2, 198.51.100.1 f2"]);
      us.set({ ...spec, longLivedTime: "60s", neighbors: both.slice(0, 1) });
      await until("one way", routes, ["10.1.0.0/16 192.0.2.1 e2"]);
    });

    test("routes of the kernel are announced by kind, and taken back", async () => {
      using pair = ends();
      using us = new Side(pair, 1, pair.first);
      using them = new Side(pair, 2, pair.second);
      const one = [neighbor({ address: "192.0.2.2", asn: 65002 })];
      pair.text("ip link add d0 type veth peer name d1");
      pair.text("ip link set d1 up");
      pair.text("ip link set d0 up");
      pair.text("ip address add 10.50.0.1/24 dev d0");
      pair.text("ip route add 10.51.0.0/16 via 198.51.100.2 proto static");
      pair.text("ip route add 10.52.0.0/16 via 198.51.100.2");
      pair.text("ip route add 10.53.0.0/16 via 198.51.100.2 proto bgp");
      pair.text("ip route add default via 198.51.100.2");
      const got = () => routesIn(pair, pair.second).map((text) => text.split(" ")[0]);
      us.set({ redistribute: ["static", "connected"], neighbors: one });
      them.set({ install: true, neighbors: [neighbor({ address: "192.0.2.1", asn: 65001, passive: true })] });
      // Its own links are the receiver's by a better metric; beside them BGP's stand too.
      const links = ["192.0.2.0/24", "198.51.100.0/24"];
      const sorted = () => got().sort();
      await until("two kinds", sorted, ["10.50.0.0/24", "10.51.0.0/16", ...links]);
      pair.text("ip route del 10.51.0.0/16");
      pair.text("ip address add 10.54.0.1/24 dev d0");
      await until("one goes, one comes", sorted, ["10.50.0.0/24", "10.54.0.0/24", ...links]);
      // Its carrier goes; the routes stay in the kernel, as they do without a carrier.
      pair.text("ip link set d1 down");
      await until("with its link", sorted, links);
      us.set({ redistribute: ["kernel"], neighbors: one });
      await until("another kind", sorted, ["10.52.0.0/16"]);
      us.set({ neighbors: one });
      await until("none", sorted, []);
    });
  },
);
