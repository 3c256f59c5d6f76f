import { expect, test } from "bun:test";
import { elementText, fixedSets, markChain, valueText, viewTable } from "./nft-table.ts";

const listing = (packets: number, handle: number, extra: object[] = []) => ({
  nftables: [
    { metainfo: { version: "1.0.6" } },
    { table: { family: "inet", name: "causeway", handle } },
    {
      set: { name: "s", type: "ipv4_addr", elem: [{ prefix: { addr: "10.0.0.0", len: 8 } }, "192.168.1.1"] },
    },
    {
      map: {
        name: "m",
        type: ["ifname", "ipv4_addr"],
        map: "verdict",
        elem: [
          [{ concat: ["cw1", "10.0.0.1"] }, { accept: null }],
          [{ concat: ["cw2", "10.0.0.2"] }, { jump: { target: "d" } }],
        ],
      },
    },
    { map: { name: "a", elem: [[{ elem: { val: 80, comment: "x" } }, { concat: ["10.1.1.1", 8080] }]] } },
    { rule: { chain: "c", handle, expr: [{ counter: { packets, bytes: 7 } }, { drop: null }] } },
    ...extra,
  ],
});

test("elements are read with their keys and values", () => {
  const { sets } = viewTable(listing(0, 1));
  const shown = (set: string) => [...(sets.get(set) ?? [])].map(([key, { value }]) => [key, value]);
  expect(shown("s")).toEqual([
    ["10.0.0.0/8", undefined],
    ["192.168.1.1", undefined],
  ]);
  expect(shown("m")).toEqual([
    ["cw1 . 10.0.0.1", "accept"],
    ["cw2 . 10.0.0.2", "jump d"],
  ]);
  expect(shown("a")).toEqual([["80", "10.1.1.1 . 8080"]]);
});

test("the digest of a listing ignores counters, handles, elements and the mark, and nothing else", () => {
  const before = viewTable(listing(0, 1));
  const mark = { chain: { name: markChain("0123456789abcdef", before.listing), handle: 9 } };
  const after = viewTable(listing(5, 2, [mark]));
  expect(after.listing).toBe(before.listing);
  expect(after.mark).toEqual({ text: "0123456789abcdef", listing: before.listing });
  expect(viewTable(listing(0, 1, [{ rule: { chain: "c", expr: [] } }])).listing).not.toBe(before.listing);
});

test("keys and values have one spelling", () => {
  expect(elementText(['"cw1"', "10.0.0.1/32", "02:00:00:00:00:0A"])).toBe(
    "cw1 . 10.0.0.1 . 02:00:00:00:00:0a",
  );
  expect(elementText(["fd00:0::1/128"])).toBe("fd00::1");
  expect(valueText("10.0.0.1 . 0x50")).toBe("10.0.0.1 . 80");
});

test("sets that the ruleset fills itself are not ours to prune", () => {
  const text = `
    set pods { type ifname . ipv4_addr; }
    set fixed { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.0.0/16 } }
    map seen { type ipv4_addr : verdict; flags dynamic,timeout; timeout 5m; }
    chain c { ip saddr { 10.0.0.1 } drop }`;
  expect([...fixedSets(text)]).toEqual(["fixed", "seen"]);
});
