/** Transactions of nf_tables: each is heard once, whole, with the tables that it named and no others. */
import { describe, expect, test } from "bun:test";
import { Nftables, NftablesMonitor, type NftablesTransaction } from "../../src/netlink/mod.ts";
import { openDescriptions } from "../../src/sys/mod.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

const lacking = notRoot ?? lacksTool("nft");

function listen(scratch: Scratch, receiveBufferBytes?: number) {
  const transactions: NftablesTransaction[] = [];
  const heard = { overruns: 0 };
  const monitor = NftablesMonitor.open({
    netns: scratch.netns,
    ...(receiveBufferBytes !== undefined && { receiveBufferBytes }),
    onTransaction: (transaction) => transactions.push(transaction),
    onOverrun: () => heard.overruns++,
  });
  return Object.assign(heard, {
    transactions,
    monitor,
    /** What was heard since the last call, one line per transaction. */
    take: () => {
      monitor.drain();
      return transactions
        .splice(0)
        .map(({ tables }) => tables.map(({ family, name }) => `${family} ${name}`).join(", "));
    },
    [Symbol.dispose]: () => monitor.close(),
  });
}

describe.skipIf(lacking !== undefined)(
  `nftables monitor${lacking === undefined ? "" : ` (${lacking})`}`,
  () => {
    test("every kind of change names its table", () => {
      using scratch = new Scratch();
      using heard = listen(scratch);
      const commands = [
        "add table inet t",
        "add chain inet t c",
        "add rule inet t c accept",
        "add set inet t s { type ipv4_addr; }",
        "add element inet t s { 10.0.0.1 }",
        "add counter inet t n",
        "delete element inet t s { 10.0.0.1 }",
        "flush chain inet t c",
        "delete counter inet t n",
        "delete set inet t s",
        "delete chain inet t c",
        "delete table inet t",
      ];
      for (const command of commands) {
        scratch.text(`nft ${command}`);
        expect([command, ...heard.take()]).toEqual([command, "inet t"]);
      }
      for (const family of ["ip", "ip6", "bridge", "arp", "netdev"]) {
        scratch.text(`nft add table ${family} t`);
        expect(heard.take()).toEqual([`${family} t`]);
      }
    });

    test("a transaction is one, however large; generations count up; a listing and a refused text make none", () => {
      using scratch = new Scratch();
      using nft = Nftables.open({ netns: scratch.netns });
      using heard = listen(scratch);
      const rules = Array.from({ length: 3000 }, () => "add rule ip other c counter accept\n").join("");
      nft.run(`add table ip other; add chain ip other c\n${rules}add table inet causeway\n`);
      heard.monitor.drain();
      const [first] = heard.transactions;
      expect(heard.take()).toEqual(["ip other, inet causeway"]);
      nft.json("list ruleset");
      expect(() => nft.run("add table ip a; add rule ip a nothing accept")).toThrow();
      expect(heard.take()).toEqual([]);
      nft.run("add table ip next");
      heard.monitor.drain();
      expect(heard.transactions[0]?.generation).toBe((first?.generation as number) + 1);
      expect(heard.take()).toEqual(["ip next"]);
      scratch.text("nft flush ruleset");
      expect(heard.take()).toEqual(["ip other, inet causeway, ip next"]);
    });

    test("the event loop delivers too; an overrun is told; nothing stays open", async () => {
      const before = openDescriptions();
      using scratch = new Scratch();
      {
        using heard = listen(scratch);
        scratch.text("nft add table inet t");
        while (heard.transactions.length === 0) await Bun.sleep(2);
        using small = listen(scratch, 4096);
        using nft = Nftables.open({ netns: scratch.netns });
        for (let i = 0; i < 200; i++) nft.run(`add chain inet t c${i}`);
        small.monitor.drain();
        expect(small.overruns).toBeGreaterThan(0);
        small.take();
        nft.run("add table ip again");
        expect(small.take()).toEqual(["ip again"]);
      }
      scratch[Symbol.dispose]();
      expect(openDescriptions()).toEqual(before);
    });
  },
);
