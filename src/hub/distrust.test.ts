import { expect, test } from "bun:test";
import { Distrust, MOST_WRONG, PERIOD_MS } from "./distrust.ts";

test("who sends too much that does not hold is not listened to for a while; honest ones have some", () => {
  const distrust = new Distrust();
  distrust.removals("old", 1_024, 0);
  distrust.removals("thief", 1_024, 0);
  distrust.removals("thief", 1_024, 1_000);
  expect(["old", "thief", "other"].map((node) => distrust.refuses(node, 1_000))).toEqual([
    false,
    true,
    false,
  ]);
  expect(distrust.refuses("thief", PERIOD_MS - 1)).toBe(true);
  expect(distrust.refuses("thief", PERIOD_MS)).toBe(false);
  distrust.removals("thief", MOST_WRONG + 1, PERIOD_MS);
  expect(distrust.refuses("thief", PERIOD_MS)).toBe(true);
});

test("after a loan that did not hold none of that node is looked at for a while", () => {
  const distrust = new Distrust();
  distrust.loan("a", 5_000);
  expect([distrust.mayLend("a", 5_001), distrust.mayLend("b", 5_001)]).toEqual([false, true]);
  distrust.tidy(PERIOD_MS);
  expect(distrust.mayLend("a", PERIOD_MS + 4_999)).toBe(false);
  expect(distrust.mayLend("a", PERIOD_MS + 5_000)).toBe(true);
});
