import { expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { FULL_SEEN, SEEN_MS } from "./limits.ts";
import { Seen } from "./seen.ts";

const seed = newSeed();

test(`what was added is there for a period at least and two at most, and seldom anything else (seed ${seed})`, () => {
  const random = new Random(seed);
  const seen = new Seen(random.bytes(8));
  const some = Array.from(
    { length: 5000 },
    () => [random.below(60_000), random.below(60_000), random.u32()] as const,
  );
  const has = ([source, to, index]: (typeof some)[number]) => seen.has(source, to, index);
  const add = ([source, to, index]: (typeof some)[number], nowMs: number) =>
    seen.add({ source, to, index, nowMs });
  expect(some.some(has)).toBe(false);
  some.forEach((one, i) => add(one, 1_000_000 + i));
  expect(some.every(has)).toBe(true);
  // The other direction, another node, another index.
  const others = some.flatMap(([a, b, c]) => [
    [b, a, c] as const,
    [a + 1, b, c] as const,
    [a, b, c ^ 1] as const,
  ]);
  expect(others.filter(has).length).toBeLessThan(5);
  add([1, 1, 0], 1_000_000 + SEEN_MS / 2);
  add([1, 1, 1], 1_000_000 + SEEN_MS);
  expect(some.every(has)).toBe(true);
  add([1, 1, 2], 1_000_000 + 2 * SEEN_MS);
  expect(some.filter(has).length).toBeLessThan(5);
  expect(has([1, 1, 1])).toBe(true);
});

test("when it is full one in twenty is taken for another at most", () => {
  const random = new Random(seed);
  const seen = new Seen(random.bytes(8));
  for (let i = 0; i < FULL_SEEN; i++)
    seen.add({ source: i & 0xffff, to: (i >>> 4) & 0xffff, index: random.u32(), nowMs: 0 });
  let wrong = 0;
  for (let i = 0; i < 10_000; i++) if (seen.has(i & 0xffff, 7, random.u32())) wrong++;
  expect(wrong).toBeLessThan(600);
});
