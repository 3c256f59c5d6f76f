import { expect, test } from "bun:test";
import { Arrivals } from "./arrivals.ts";

test("a node connects so often in a minute and no more; others are not touched, and what is over is forgotten", () => {
  const arrivals = new Arrivals();
  const taken = Array.from({ length: 200 }, (_, i) => arrivals.take("a", i * 10));
  expect(taken.filter(Boolean).length).toBe(60);
  expect(arrivals.take("b", 2000)).toBe(true);
  expect(arrivals.take("a", 60_005)).toBe(true);
  arrivals.sweep(61_000);
  expect(arrivals.size).toBe(2);
  arrivals.sweep(200_000);
  expect(arrivals.size).toBe(0);
});
