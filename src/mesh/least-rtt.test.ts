import { expect, test } from "bun:test";
import { type LeastRtt, leastRtt, WINDOW_MS, withRtt } from "./least-rtt.ts";

/** After answers `[at, took]`, in milliseconds. */
function after(...answers: readonly (readonly [at: number, took: number])[]): LeastRtt {
  let known: LeastRtt | undefined;
  for (const [at, took] of answers) known = withRtt(known, took, at);
  return known as LeastRtt;
}

test("late answers lengthen nothing while one in two windows was in time", () => {
  const known = after([0, 20], [200, 300], [WINDOW_MS - 1, 90], [WINDOW_MS, 250], [WINDOW_MS + 200, 170]);
  expect(leastRtt(known, WINDOW_MS + 200)).toBe(20);
});

test("what was in time is forgotten after its window and the next one, also when nobody was asked since", () => {
  const known = after([0, 20], [WINDOW_MS, 250]);
  expect(leastRtt(known, 2 * WINDOW_MS - 1)).toBe(20);
  expect(leastRtt(known, 2 * WINDOW_MS)).toBe(250);
  expect(leastRtt(after([0, 20], [2 * WINDOW_MS, 250]), 2 * WINDOW_MS)).toBe(250);
});

test("without later answers the last window's holds", () => {
  expect(leastRtt(after([0, 20], [10, 30]), 100 * WINDOW_MS)).toBe(20);
});
