/** nftables: what we load is what nft(8) lists in that namespace, and nowhere else. */
import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { Nftables, NftablesError } from "../../src/netlink/mod.ts";
import { openDescriptions } from "../../src/sys/mod.ts";
import { type Json, lacksTool, notRoot, Scratch } from "../support/scratch.ts";

function lacksNftables(): string | undefined {
  if (notRoot !== undefined) return notRoot;
  using scratch = new Scratch();
  try {
    using nft = Nftables.open({ netns: scratch.netns });
    nft.run("add table inet probe");
    return undefined;
  } catch (error) {
    return error instanceof NftablesError ? "this kernel has no nf_tables" : (error as Error).message;
  }
}

const lacking = lacksNftables() ?? lacksTool("nft");

const table = `table inet causeway {
  set pods { type ifname . ipv4_addr; }
  map gates { type ipv4_addr : verdict; }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname . ip saddr @pods accept
    ip daddr vmap @gates
  }
}`;

function message(work: () => unknown): NftablesError {
  try {
    work();
  } catch (error) {
    if (error instanceof NftablesError) return error;
    throw error;
  }
  throw new Error("nft did not refuse");
}

describe.skipIf(lacking !== undefined)(`nftables${lacking === undefined ? "" : ` (${lacking})`}`, () => {
  test("runs in its namespace, lists as nft(8) does", () => {
    using scratch = new Scratch();
    const elsewhere = scratch.another();
    using nft = Nftables.open({ netns: scratch.netns });
    using other = Nftables.open({ netns: elsewhere });
    nft.run(table);
    nft.run('add element inet causeway pods { "cw1234" . 10.244.0.2 }');
    nft.run("add element inet causeway gates { 10.0.0.1 : drop }");
    const listed = nft.json("list table inet causeway") as Json;
    expect(listed).toEqual(scratch.json("nft -j list table inet causeway"));
    const set = listed.nftables.find((item: Json) => item.set?.name === "pods").set;
    expect(set.elem).toEqual([{ concat: ["cw1234", "10.244.0.2"] }]);
    expect((other.json("list ruleset") as Json).nftables).toHaveLength(1);
    expect(scratch.text("nft list ruleset", elsewhere)).toBe("");
    expect(nft.json("list tables")).toEqual(scratch.json("nft -j list tables"));
    nft.run("delete table inet causeway");
    expect(scratch.text("nft list ruleset")).toBe("");
  });

  test("a text is one transaction: when one line is refused nothing is done", () => {
    using scratch = new Scratch();
    using nft = Nftables.open({ netns: scratch.netns });
    const error = message(() => nft.run("add table inet a\nadd rule inet a nothing accept\n"));
    expect(error.message).toBe(
      "Cannot apply nftables rules: Could not process rule: No such file or directory",
    );
    expect(error.detail).toContain("^^^^");
    expect(scratch.text("nft list ruleset")).toBe("");
    expect(message(() => nft.run("add tabel inet a")).message).toContain("syntax error");
    expect(message(() => nft.json("list table inet a")).message).toBe(
      "Cannot run nft list table inet a: No such file or directory",
    );
    // An error leaves the context usable.
    nft.run("add table inet a");
    expect(scratch.text("nft list tables")).toBe("table inet a\n");
  });

  test("a thousand elements in one text, and no descriptor or namespace is kept", () => {
    const before = openDescriptions();
    using scratch = new Scratch();
    const openFiles = () => readdirSync("/proc/self/fd").length;
    const files = openFiles();
    for (let i = 0; i < 20; i++) {
      using nft = Nftables.open({ netns: scratch.netns });
      nft.run("add table inet a; add set inet a s { type ipv4_addr; }");
      const elements = Array.from({ length: 1000 }, (_, k) => `10.${i}.${k >> 8}.${k & 255}`).join(",");
      nft.run(`add element inet a s { ${elements} }`);
    }
    expect(openFiles()).toBe(files);
    scratch[Symbol.dispose]();
    expect(openDescriptions()).toEqual(before);
  });
});
