import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import {
  acceptNext,
  acceptSequence,
  inferSequence,
  isNewSequence,
  MOST_WINDOW,
  newSequenceWindow,
  type SequenceWindow,
  windowWords,
} from "./replay.ts";

/** The window as RFC 4303 says it: all numbers ever seen, and the pseudo code of appendix A2.2, word for word, with its halves Tl, Th. */
class Model {
  readonly seen = new Set<bigint>();
  greatest = 0n;
  readonly size: bigint;

  constructor(size: number) {
    this.size = BigInt(size);
  }

  infer(low: number): bigint {
    const range = 1n << 32n;
    const [th, tl, w, seql] = [this.greatest >> 32n, this.greatest % range, this.size, BigInt(low)];
    if (tl >= w - 1n) return (seql >= tl - w + 1n ? th : th + 1n) * range + seql;
    return (seql >= tl - w + 1n + range ? th - 1n : th) * range + seql;
  }

  accept(sequence: bigint): boolean {
    if (sequence <= this.greatest - this.size || this.seen.has(sequence)) return false;
    this.seen.add(sequence);
    if (sequence > this.greatest) this.greatest = sequence;
    return true;
  }
}

/** A window whose greatest number is such. */
function windowAt(size: number, greatest: number): SequenceWindow {
  const window = newSequenceWindow(size);
  if (greatest > 0) acceptSequence(window, greatest);
  return window;
}

describe("window of sequence numbers", () => {
  test("each number of the window once, however it is ordered", () => {
    for (const size of [32, 33, 64, 100, 128, 1000, 4096, MOST_WINDOW])
      for (const order of [
        (i: number) => i,
        (i: number) => size - 1 - i,
        (i: number) => (i * 4801 + 17) % size,
      ]) {
        if (new Set(Array.from({ length: size }, (_, i) => order(i))).size !== size) continue;
        const window = newSequenceWindow(size);
        for (const expected of [true, false])
          for (let i = 0; i < size; i++)
            expect([size, i, acceptSequence(window, 1e12 + order(i))]).toEqual([size, i, expected]);
        expect(acceptSequence(window, 1e12 - 1)).toBe(false);
      }
  });

  test("it moves by more than itself, and what was seen there before is new", () => {
    for (const step of [31, 32, 33, 127, 128, 129, 8000, 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 40]) {
      const window = newSequenceWindow(128);
      for (let i = 1; i <= 128; i++) acceptSequence(window, i);
      expect(acceptSequence(window, 128 + step)).toBe(true);
      for (let back = 1; back < 128; back++)
        expect(acceptSequence(window, 128 + step - back)).toBe(back < step);
    }
  });

  test("15 packets, the even ones first, then all: the even are refused, also across 2^32 (Vita's self-test)", () => {
    for (const first of [1, 2 ** 32 - 8]) {
      const window = windowAt(128, first - 1);
      for (let i = 0; i < 15; i += 2) expect(acceptSequence(window, first + i)).toBe(true);
      for (let i = 0; i < 15; i++) expect(acceptSequence(window, first + i)).toBe(i % 2 === 1);
    }
  });

  test("sizes that cannot be", () => {
    for (const size of [0, 31, 8193, 64.5, Number.NaN, -1])
      expect(() => newSequenceWindow(size)).toThrow("is not 32 to 8192");
    expect([32, 33, 64, 96, 97, 1024, 8192].map(windowWords)).toEqual([2, 4, 4, 4, 8, 64, 512]);
  });
});

describe("inference of the upper half (RFC 4303, appendix A2.2)", () => {
  test("case A: the window lies in one range of the lower half", () => {
    const window = windowAt(64, 5 * 2 ** 32 + 1000);
    expect(inferSequence(window, 1000)).toBe(5 * 2 ** 32 + 1000);
    expect(inferSequence(window, 1001)).toBe(5 * 2 ** 32 + 1001);
    expect(inferSequence(window, 937)).toBe(5 * 2 ** 32 + 937);
    expect(inferSequence(window, 936)).toBe(6 * 2 ** 32 + 936);
    expect(inferSequence(window, 0)).toBe(6 * 2 ** 32);
  });

  test("case B: it spans two", () => {
    const window = windowAt(64, 5 * 2 ** 32 + 10);
    expect(inferSequence(window, 11)).toBe(5 * 2 ** 32 + 11);
    expect(inferSequence(window, 0)).toBe(5 * 2 ** 32);
    expect(inferSequence(window, 2 ** 32 - 1)).toBe(5 * 2 ** 32 - 1);
    expect(inferSequence(window, 2 ** 32 - 53)).toBe(5 * 2 ** 32 - 53);
    expect(inferSequence(window, 2 ** 32 - 54)).toBe(6 * 2 ** 32 - 54);
  });

  test("there is nothing before the first number, and none that is not exact", () => {
    const window = newSequenceWindow(64);
    expect(inferSequence(window, 0)).toBe(-1);
    expect(inferSequence(window, 1)).toBe(1);
    expect(inferSequence(window, 2 ** 32 - 1)).toBe(-1);
    expect(inferSequence(window, 2 ** 32 - 65)).toBe(2 ** 32 - 65);
    const end = windowAt(64, 2 ** 53 - 100);
    expect(inferSequence(end, 2 ** 32 - 50)).toBe(2 ** 53 - 50);
    expect(inferSequence(end, 2 ** 32 - 1)).toBe(-1);
    expect(inferSequence(end, 5)).toBe(-1);
  });
});

const seed = newSeed();
test(`inference and window agree with the RFC's pseudo code and a set of all numbers (SEED=${seed})`, () => {
  const random = new Random(seed);
  let crossed = 0;
  let late = 0;
  for (let round = 0; round < 60; round++) {
    const size = random.pick([32, 64, 65, 128, 1000, 4096, 8192]);
    const [window, model] = [newSequenceWindow(size), new Model(size)];
    let at = random.pick([1, 1, 40, 2 ** 32 - 300, 2 ** 32 - 1, 2 ** 33 - 5000, 2 ** 52 - 100]);
    if (at > 1) expect([acceptSequence(window, at), model.accept(BigInt(at))]).toEqual([true, true]);
    for (let i = 0; i < 1500; i++) {
      at += random.pick([
        0,
        1,
        1,
        1,
        2,
        31,
        33,
        random.below(300),
        random.chance(0.02) ? random.below(2 ** 31) : 0,
      ]);
      const back = random.pick([0, 0, 1, random.below(64), random.below(size), size - 1, size, size + 1]);
      const sequence = Math.max(1, at - back);
      const low = sequence % 2 ** 32;
      const inferred = inferSequence(window, low);
      const said = model.infer(low);
      expect(inferred).toBe(said > 0n && said < 2n ** 53n - 1n ? Number(said) : -1);
      // What was sent is what is meant, as long as it is not too late.
      if (BigInt(sequence) > model.greatest - model.size && sequence > 0) expect(inferred).toBe(sequence);
      else {
        late++;
        continue;
      }
      const before = model.greatest >> 32n;
      expect(acceptSequence(window, sequence)).toBe(model.accept(BigInt(sequence)));
      if (model.greatest >> 32n !== before) crossed++;
    }
  }
  // It went everywhere.
  expect(crossed).toBeGreaterThan(10);
  expect(late).toBeGreaterThan(100);
});

const many = newSeed();
test(`many at once are as one after the other, and a look changes nothing (SEED=${many})`, () => {
  const random = new Random(many);
  for (let round = 0; round < 300; round++) {
    const size = 32 + random.below(500);
    const start = random.pick([1, 31, 32, 2 ** 31 - 10, 2 ** 32 - 30, 2 ** 40 + 7]);
    const [all, each] = [windowAt(size, start), windowAt(size, start)];
    for (let step = 0; step < 20; step++) {
      const next = each.next[0] as number;
      if (random.chance(0.3)) {
        const sequence = Math.max(1, next + random.below(2 * size) - size);
        const isNew = isNewSequence(all, sequence);
        for (const window of [all, each]) expect(acceptSequence(window, sequence)).toBe(isNew);
      } else {
        const count = 1 + random.below(64);
        acceptNext(all, count);
        for (let i = 0; i < count; i++) expect(acceptSequence(each, next + i)).toBe(true);
      }
      expect(all).toEqual(each);
    }
  }
});
