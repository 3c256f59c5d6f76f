import { expect, test } from "bun:test";
import { BitSet } from "./bit-set.ts";

test("a bit set agrees with a set", () => {
  const bits = new BitSet();
  const set = new Set<number>();
  bits.reserve(70_000);
  let state = 7;
  for (let i = 0; i < 5000; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const id = (state >>> 8) % 70_000;
    if (state % 5 === 0) {
      bits.delete(id);
      set.delete(id);
    } else {
      bits.add(id);
      set.add(id);
    }
  }
  const members: number[] = [];
  for (let id = bits.next(0); id >= 0; id = bits.next(id + 1)) members.push(id);
  expect(members).toEqual([...set].sort((a, b) => a - b));
  expect(bits.size).toBe(set.size);
  for (const id of members) bits.delete(id);
  expect([bits.size, bits.next(0)]).toEqual([0, -1]);
});

test("members at the borders of words and of groups of words are found", () => {
  const bits = new BitSet();
  bits.reserve(4096);
  for (const id of [0, 31, 32, 1023, 1024, 4095]) bits.add(id);
  expect([0, 1, 32, 33, 1024, 1025].map((from) => bits.next(from))).toEqual([0, 31, 32, 1023, 1024, 4095]);
  expect([bits.has(4095), bits.has(4094), bits.next(4096)]).toEqual([true, false, -1]);
});
