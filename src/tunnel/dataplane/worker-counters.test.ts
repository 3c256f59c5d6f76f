import { expect, test } from "bun:test";
import { newCounters, type PathCounters } from "../path/mod.ts";
import { COUNTERS } from "./session-store.ts";
import { OWN_COUNTERS, publishCounters, sumCounters } from "./worker-counters.ts";

test("every counter of the path is published, each at a place of its own", () => {
  const counters = newCounters();
  const shared = new Float64Array(COUNTERS);
  for (const [i, name] of Object.keys(counters).entries())
    (counters as unknown as Record<string, number>)[name] = 100 + i;
  publishCounters(shared, counters);
  for (const at of Object.values(OWN_COUNTERS)) {
    expect(at).toBeLessThan(COUNTERS);
    expect(shared[at]).toBe(0);
    shared[at] = 500 + at;
  }
  const sums = sumCounters([shared]);
  const values = Object.values(sums);
  expect(new Set(values).size).toBe(values.length);
  expect(values).toHaveLength(Object.keys(counters).length + Object.keys(OWN_COUNTERS).length);
  // Names of the answer are those of the path with other spelling.
  const spelt = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  for (const name of Object.keys(counters) as (keyof PathCounters)[])
    expect([name, sums[spelt(name)]]).toEqual([name, counters[name]]);
});

test("workers are added up", () => {
  const one = new Float64Array(COUNTERS).fill(1);
  const other = new Float64Array(COUNTERS).fill(2 ** 40);
  expect(new Set(Object.values(sumCounters([one, other])))).toEqual(new Set([1 + 2 ** 40]));
  expect(new Set(Object.values(sumCounters([])))).toEqual(new Set([0]));
});
