/** Our tables under other hands: what others do to them is repaired from the event, and what they do elsewhere costs nothing. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Engine, FOREIGN_MS, type KernelObject } from "../../src/engine/mod.ts";
import { NftTables } from "../../src/engine/nft-tables.ts";
import { Nftables, NftablesMonitor, type NftablesTransaction } from "../../src/netlink/mod.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

const cannot = notRoot ?? lacksTool("nft");

let scratch: Scratch;

beforeEach(() => {
  if (cannot === undefined) scratch = new Scratch();
});

afterEach(() => {
  if (cannot === undefined) scratch[Symbol.dispose]();
});

const text = "set s { type ipv4_addr; }\nmap m { type ipv4_addr : verdict; }\nchain c { ip saddr @s drop; }";
const objects: readonly KernelObject[] = [
  { kind: "ruleset", family: "inet", text },
  { kind: "element", family: "inet", set: "s", key: ["10.0.0.1"] },
  { kind: "element", family: "inet", set: "s", key: ["10.0.0.2"] },
  { kind: "element", family: "inet", set: "m", key: ["10.0.0.3"], value: "drop" },
];

const nft = (words: string) => scratch.text(`nft ${words}`);

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(5);
}

describe.skipIf(cannot !== undefined)(
  `our tables${cannot === undefined ? "" : ` (skipped: ${cannot})`}`,
  () => {
    for (const harm of [
      "flush ruleset",
      "delete table inet causeway",
      "delete element inet causeway s { 10.0.0.2 }",
      "flush map inet causeway m",
      "flush chain inet causeway c",
      "add rule inet causeway c accept",
    ])
      test(`nft ${harm} is repaired from the event`, async () => {
        using engine = Engine.open({ netns: scratch.netns });
        engine.set("all", objects);
        expect(engine.apply().failed).toEqual([]);
        const loaded = nft("list ruleset");
        engine.start();
        nft(harm);
        expect(nft("list ruleset")).not.toBe(loaded);
        await until(() => nft("list ruleset") === loaded);
        await until(() => engine.status().every((status) => status.state === "ready"));
      });

    test("an apply that is asked for sees what others did; one that has nothing to do makes no transaction", () => {
      using engine = Engine.open({ netns: scratch.netns });
      engine.set("all", objects);
      engine.apply();
      const loaded = nft("list ruleset");
      const heard: NftablesTransaction[] = [];
      using monitor = NftablesMonitor.open({
        netns: scratch.netns,
        onTransaction: (one) => heard.push(one),
        onOverrun: () => {},
      });
      expect([engine.apply().applied, engine.apply({ prune: true }).applied, engine.round().applied]).toEqual(
        [0, 0, 0],
      );
      monitor.drain();
      expect(heard).toEqual([]);
      nft("delete element inet causeway s { 10.0.0.1 }");
      expect(engine.apply().applied).toBe(1);
      nft("delete table inet causeway");
      // The elements come with their ruleset.
      expect(engine.apply().applied).toBe(1);
      expect(nft("list ruleset")).toBe(loaded);
    });

    test("who changes our table again and again is answered at most once in a while", async () => {
      using engine = Engine.open({ netns: scratch.netns });
      engine.set("all", objects);
      engine.apply();
      engine.start();
      using theirs = Nftables.open({ netns: scratch.netns });
      let repairs = 0;
      using monitor = NftablesMonitor.open({
        netns: scratch.netns,
        onTransaction: ({ tables }) => (repairs += tables.length),
        onOverrun: () => {},
      });
      const begin = performance.now();
      let harms = 0;
      while (harms < 40) {
        theirs.run("add element inet causeway s { 10.9.9.9 }; delete element inet causeway s { 10.0.0.1 }");
        harms++;
        await Bun.sleep(10);
        theirs.run("add element inet causeway s { 10.0.0.1 }");
        harms++;
        await Bun.sleep(10);
      }
      monitor.drain();
      expect(repairs - harms).toBeLessThanOrEqual((performance.now() - begin) / FOREIGN_MS + 2);
    });

    test("neither our own changes nor other tables have ours listed again", () => {
      let foreign = 0;
      using tables = new NftTables(scratch.netns, () => foreign++);
      using theirs = Nftables.open({ netns: scratch.netns });
      expect(tables.load({ via: "ruleset", family: "inet", text }, [])).toBeUndefined();
      const view = tables.view("inet");
      const element = { kind: "element", family: "inet", set: "s", key: ["10.0.0.7"] } as const;
      expect(tables.change([{ via: "element", element, remove: false, add: true }])).toEqual([undefined]);
      theirs.run("add table ip kube-proxy; add chain ip kube-proxy services; add table ip causeways");
      for (let i = 0; i < 500; i++) theirs.run(`add rule ip kube-proxy services tcp dport ${i + 1} accept`);
      // The same name in a family of which we have none.
      theirs.run("add table netdev causeway");
      tables.drain();
      expect([foreign, tables.takeForeign()]).toEqual([0, []]);
      expect(tables.view("inet")).toBe(view);
      theirs.run("add element inet causeway s { 10.0.0.8 }; add table ip causeway");
      tables.drain();
      expect([foreign, tables.takeForeign()]).toEqual([1, ["inet", "ip"]]);
      expect(tables.view("inet")).not.toBe(view);
      expect(tables.view("inet")?.sets.get("s")?.has("10.0.0.8")).toBe(true);
    });
  },
);
