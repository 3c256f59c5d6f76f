import { expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { WINDOW_BITS } from "./limits.ts";
import { accept, WINDOW_REACH } from "./replay.ts";

const window = () => ({ next: new Float64Array(1), bits: new Uint32Array(WINDOW_BITS / 32) });

/** The same, as one would explain it. */
class Model {
  readonly seen = new Set<number>();
  greatest = -1;

  accept(counter: number): boolean {
    if (counter < this.greatest - WINDOW_REACH || this.seen.has(counter)) return false;
    this.seen.add(counter);
    this.greatest = Math.max(this.greatest, counter);
    return true;
  }
}

test("the cases of the kernel's selftest (drivers/net/wireguard/selftest/counter.c)", () => {
  const w = window();
  const T = WINDOW_REACH + 1;
  const all = (...cases: [number, boolean][]) => {
    for (const [counter, expected] of cases)
      expect([counter, accept(w, counter)]).toEqual([counter, expected]);
  };
  all([0, true], [1, true], [1, false], [9, true], [8, true], [7, true], [7, false]);
  all([T, true], [T - 1, true], [T - 1, false], [T - 2, true]);
  all([2, true], [2, false], [T + 16, true], [3, false], [T + 16, false]);
  all([T * 4, true], [T * 4 - (T - 1), true], [10, false], [T * 4 - T, false], [T * 4 - (T + 1), false]);
  all([T * 4 - (T - 2), true], [T * 4 + 1 - T, false], [0, false]);
});

test("every counter of the window once, forwards, backwards and from the middle", () => {
  for (const order of [
    (i: number) => i,
    (i: number) => WINDOW_REACH - i,
    (i: number) => (i * 4801 + 17) % (WINDOW_REACH + 1),
  ]) {
    const w = window();
    const offset = 1e12;
    const first = Array.from({ length: WINDOW_REACH + 1 }, (_, i) => accept(w, offset + order(i)));
    expect(first.every(Boolean)).toBe(true);
    const second = Array.from({ length: WINDOW_REACH + 1 }, (_, i) => accept(w, offset + order(i)));
    expect(second.some(Boolean)).toBe(false);
  }
});

test("counters up to the end of exact numbers", () => {
  const w = window();
  const end = 2 ** 53 - 2;
  expect([
    accept(w, end),
    accept(w, end),
    accept(w, end - WINDOW_REACH),
    accept(w, end - WINDOW_REACH - 1),
  ]).toEqual([true, false, true, false]);
});

const seed = newSeed();
test(`like a set of all counters ever seen (seed ${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 40; round++) {
    const [w, model] = [window(), new Model()];
    let at = random.pick([0, 0, 31, 2 ** 32 - 40, 2 ** 40, 2 ** 52]);
    for (let i = 0; i < 4000; i++) {
      at += random.pick([
        0,
        1,
        1,
        1,
        2,
        31,
        32,
        33,
        random.below(300),
        random.chance(0.01) ? random.below(20_000) : 0,
      ]);
      const back = random.pick([
        0,
        0,
        1,
        random.below(64),
        random.below(9000),
        WINDOW_REACH,
        WINDOW_REACH + 1,
      ]);
      const counter = Math.max(0, at - back);
      expect([counter, accept(w, counter)]).toEqual([counter, model.accept(counter)]);
    }
  }
});
