import { expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { Deadlines } from "./deadlines.ts";

const seed = newSeed();
test(`like a table that is searched from end to end (seed ${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 50; round++) {
    const deadlines = new Deadlines();
    const table = new Map<number, number>();
    let nowMs = 0;
    for (let i = 0; i < 400; i++) {
      const number = random.below(40);
      const atMs = random.chance(0.1) ? Number.POSITIVE_INFINITY : nowMs + random.below(1000);
      deadlines.set(number, atMs);
      if (atMs === Number.POSITIVE_INFINITY) table.delete(number);
      else table.set(number, atMs);
      const earliest = Math.min(...table.values());
      // It may be early, never late.
      expect(deadlines.next() ?? Number.POSITIVE_INFINITY).toBeLessThanOrEqual(earliest);
      if (!random.chance(0.2)) continue;
      nowMs += random.below(500);
      const due = deadlines.due(nowMs);
      expect([...due].sort()).toEqual(
        [...table]
          .filter(([, at]) => at <= nowMs)
          .map(([n]) => n)
          .sort(),
      );
      for (const one of due) table.delete(one);
    }
    deadlines.due(Number.MAX_VALUE);
    expect(deadlines.next()).toBeUndefined();
  }
});

test("a moment that is put off again and again costs nothing, and comes", () => {
  const deadlines = new Deadlines();
  for (let nowMs = 0; nowMs < 10_000; nowMs++) deadlines.set(1, nowMs + 25_000);
  expect(deadlines.next()).toBe(25_000);
  expect(deadlines.due(25_000)).toEqual([]);
  expect(deadlines.next()).toBe(34_999);
  expect(deadlines.due(34_999)).toEqual([1]);
});
