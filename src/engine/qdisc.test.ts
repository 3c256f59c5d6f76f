import { expect, test } from "bun:test";
import { linkInfo, viewOf } from "../../test/support/engine-view.ts";
import type { QdiscInfo } from "../netlink/mod.ts";
import type { Verdict } from "./kind.ts";
import type { Qdisc } from "./object.ts";
import { qdisc } from "./qdisc.ts";

const object: Qdisc = {
  kind: "qdisc",
  link: "v0",
  type: "tbf",
  rateBytesPerSecond: 2_500_000,
  burstBytes: 25_000,
  limitBytes: 62_500,
};
const tbf = { rateBytesPerSecond: 2_500_000, bufferTicks: 156_250, limitBytes: 62_500, peakRate: false };
const ours: QdiscInfo = { linkIndex: 2, kind: "tbf", major: 67, place: "root", tbf };

const viewWith = (...infos: QdiscInfo[]) => {
  const view = viewOf([linkInfo("v0", 2)]);
  view.mirror.load("qdisc", infos);
  return view;
};
const shown = (verdict: Verdict) =>
  verdict.is === "step"
    ? `${verdict.action}: ${verdict.text}`
    : verdict.is === "same"
      ? "same"
      : verdict.reason;
const compared = (...infos: QdiscInfo[]) => shown(qdisc.compare(object, viewWith(...infos)));
const wanted = "dev v0 root handle 43: tbf rate 2500000bps burst 25000b limit 62500b";

test("the kernel's default is replaced, and a token bucket of ours is changed in place", () => {
  expect(compared()).toBe(`add: tc qdisc add ${wanted}`);
  expect(compared({ linkIndex: 2, kind: "noqueue", major: 0, place: "root" })).toBe(
    `add: tc qdisc add ${wanted}`,
  );
  expect(compared(ours)).toBe("same");
  for (const [field, value] of [
    ["rateBytesPerSecond", 1],
    ["limitBytes", 1],
    ["bufferTicks", 156_260],
    ["peakRate", true],
  ] as const)
    expect([field, compared({ ...ours, tbf: { ...tbf, [field]: value } })]).toEqual([
      field,
      `change: tc qdisc change ${wanted}`,
    ]);
});

test("another kind with our handle is replaced; without our handle it is somebody else's", () => {
  const { tbf: _, ...other } = { ...ours, kind: "pfifo" };
  expect(compared(other)).toBe(`replace: tc qdisc del dev v0 root handle 43:\ntc qdisc add ${wanted}`);
  expect(compared({ ...other, major: 0x8001 })).toBe(
    "Cannot add qdisc tbf on v0: somebody else set pfifo 8001:; remove that one",
  );
});

test("only what carries our handle at the root is removed", () => {
  const holder: QdiscInfo = { linkIndex: 2, kind: "clsact", major: 0xffff, place: "ingress" };
  const { place: _, ...child } = ours;
  const removal = (...infos: QdiscInfo[]) => qdisc.remove(object, viewWith(...infos))?.text;
  expect(removal(ours)).toBe("tc qdisc del dev v0 root handle 43:");
  for (const infos of [[], [holder], [child], [{ ...ours, major: 1 }]]) {
    expect(removal(...infos)).toBeUndefined();
    expect([...qdisc.ours(viewWith(...infos))]).toEqual([]);
  }
  expect([...qdisc.ours(viewWith(ours, holder))].map(({ link }) => link)).toEqual(["v0"]);
});
