import { expect, test } from "bun:test";
import { linkInfo, viewOf } from "../../test/support/engine-view.ts";
import type { FilterInfo, QdiscInfo } from "../netlink/mod.ts";
import { filter } from "./filter.ts";
import type { Verdict } from "./kind.ts";
import type { Filter } from "./object.ts";

const object: Filter = { kind: "filter", link: "v0", redirect: "ifb0" };
const holder: QdiscInfo = { linkIndex: 2, kind: "clsact", major: 0xffff, place: "ingress" };
const ours: FilterInfo = {
  linkIndex: 2,
  kind: "u32",
  pref: 67,
  handle: 0x8000_0043,
  matchesAll: true,
  redirect: 3,
};

const viewWith = (...infos: FilterInfo[]) => {
  const view = viewOf([linkInfo("v0", 2), linkInfo("ifb0", 3), linkInfo("other", 4)]);
  view.mirror.load("qdisc", [holder]);
  view.mirror.load("filter", infos);
  return view;
};
const shown = (verdict: Verdict) =>
  verdict.is === "step"
    ? `${verdict.action}: ${verdict.text}`
    : verdict.is === "same"
      ? "same"
      : verdict.reason;
const add =
  "tc filter add dev v0 ingress pref 67 protocol all handle ::43 u32 match u32 0 0 action mirred egress redirect dev ifb0";
const del = "tc filter del dev v0 ingress pref 67 protocol all handle 800::43 u32";

test("what holds filters is made where it is missing", () => {
  expect(shown(filter.compare(object, viewWith()))).toBe(`add: ${add}`);
  const bare = viewOf([linkInfo("v0", 2), linkInfo("ifb0", 3)]);
  expect(shown(filter.compare(object, bare))).toBe(`add: tc qdisc add dev v0 clsact\n${add}`);
});

test("a filter of ours that is another one is made anew; those of others are not seen", () => {
  const compared = (info: FilterInfo) => shown(filter.compare(object, viewWith(info)));
  expect(compared(ours)).toBe("same");
  const { redirect: _, ...nowhere } = ours;
  for (const info of [
    { ...ours, matchesAll: false },
    { ...ours, redirect: 4 },
    { ...ours, redirect: 0 },
    nowhere,
  ])
    expect(compared(info)).toBe(`change: ${del}\n${add}`);
  for (const info of [
    { ...ours, pref: 1 },
    { ...ours, handle: 0x8000_0800 },
    { ...ours, kind: "flower" },
  ]) {
    expect(compared(info)).toBe(`add: ${add}`);
    expect(filter.remove(object, viewWith(info))).toBeUndefined();
    expect([...filter.ours(viewWith(info))]).toEqual([]);
  }
  expect(filter.remove(object, viewWith(ours))?.text).toBe(del);
  expect([...filter.ours(viewWith(ours))]).toEqual([object]);
});

test("a filter goes with its holder, and is doubtful when the link that it leads to goes", () => {
  const { mirror } = viewWith(ours);
  expect(mirror.take({ kind: "qdisc", deleted: true, info: holder }).keys).toEqual([
    "qdisc v0 ingress",
    "filter v0 ingress",
  ]);
  expect(mirror.filterHolders()).toEqual([]);
  const gone = viewWith(ours).mirror.take({ kind: "link", deleted: true, info: linkInfo("ifb0", 3) });
  expect(gone).toMatchObject({ keys: ["link ifb0", "filter v0 ingress"], stale: ["filter"] });
  // The link that it is on takes it along: there is nothing to read again.
  const own = viewWith(ours).mirror.take({ kind: "link", deleted: true, info: linkInfo("v0", 2) });
  expect(own.stale).toEqual([]);
});

test("the removal of a whole preference is told without a filter's handle", () => {
  const { mirror } = viewWith(ours);
  const all: FilterInfo = { linkIndex: 2, kind: "u32", pref: 67, handle: 0, matchesAll: false };
  expect(mirror.take({ kind: "filter", deleted: true, info: { ...all, pref: 5 } }).keys).toEqual([]);
  expect(mirror.take({ kind: "filter", deleted: true, info: all }).keys).toEqual(["filter v0 ingress"]);
  expect(mirror.tables.filter.size).toBe(0);
});

test("a filter that is changed in place is read again: the kernel tells what it was", () => {
  const { mirror } = viewWith(ours);
  expect(mirror.take({ kind: "filter", deleted: false, info: ours }).stale).toEqual(["filter"]);
  expect(viewWith().mirror.take({ kind: "filter", deleted: false, info: ours })).toEqual({
    keys: ["filter v0 ingress"],
  });
});
