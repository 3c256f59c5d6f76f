import { expect, test } from "bun:test";
import { keepSame } from "./keep-same.ts";

test("what is deeply as it was is the same value; what has changed, is new, or has another name is not", () => {
  const before = [
    { vni: 1, routes: ["a"] },
    { vni: 2, routes: ["b"] },
    { vni: 3, routes: ["c"] },
  ];
  const wanted = [
    { vni: 2, routes: ["b"] },
    { vni: 1, routes: ["a", "d"] },
    { vni: 4, routes: ["c"] },
  ];
  const now = keepSame(before, wanted, ({ vni }) => vni);
  expect(now).toEqual(wanted);
  expect(now.map((one) => before.findIndex((old) => old === one))).toEqual([1, -1, -1]);
});
