import { expect, test } from "bun:test";
import { ByteArena, offsetOf } from "./byte-arena.ts";
import { ByteTable } from "./byte-table.ts";

const bytesOf = (value: number, length: number) => {
  const bytes = new Uint8Array(length);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
};

test("the same bytes have the same number, and numbers are used again", () => {
  const table = new ByteTable();
  const one = table.add(bytesOf(1, 6), 0, 6);
  const two = table.add(bytesOf(2, 6), 0, 6);
  expect([one, two, table.add(bytesOf(1, 6), 0, 6), table.size]).toEqual([1, 2, 1, 2]);
  expect(table.add(bytesOf(1, 7), 0, 7)).toBe(3);
  table.remove(one);
  expect([table.find(bytesOf(1, 6), 0, 6), table.has(one), table.has(two)]).toEqual([0, false, true]);
  expect(table.add(bytesOf(9, 5), 0, 5)).toBe(one);
  expect(table.copyOf(one)).toEqual(bytesOf(9, 5));
});

test("a table agrees with a map while strings come and go", () => {
  for (const segmentBits of [0, 3]) {
    const table = new ByteTable({ segmentBits });
    const map = new Map<number, number>();
    let state = 12345;
    for (let i = 0; i < 40_000; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const value = (state >>> 8) % 3000;
      const bytes = bytesOf(value, 4 + (value % 30));
      const known = map.get(value);
      if (known === undefined) map.set(value, table.add(bytes, 0, bytes.length));
      else if (state % 3 === 0) {
        table.remove(known);
        map.delete(value);
      } else expect(table.find(bytes, 0, bytes.length)).toBe(known);
    }
    expect(table.size).toBe(map.size);
    for (const [value, id] of map) expect(table.copyOf(id)).toEqual(bytesOf(value, 4 + (value % 30)));
    for (const id of map.values()) table.remove(id);
    expect([table.size, table.usedBytes]).toEqual([0, 0]);
  }
});

test("pieces of all sizes hold what is in them, and are used again", () => {
  const arena = new ByteArena();
  const pieces: { readonly at: number; readonly length: number; readonly fill: number }[] = [];
  for (let length = 1; length < 65_540; length = Math.ceil(length * 1.07)) {
    const at = arena.allocate(length);
    const fill = length & 255;
    arena.chunk(at).fill(fill, offsetOf(at), offsetOf(at) + length);
    pieces.push({ at, length, fill });
  }
  for (const { at, length, fill } of pieces)
    expect(
      arena
        .chunk(at)
        .subarray(offsetOf(at), offsetOf(at) + length)
        .every((byte) => byte === fill),
    ).toBe(true);
  for (const { at, length } of pieces) arena.free(at, length);
  expect(arena.usedBytes).toBe(0);
  const again = arena.allocate(pieces[20]?.length as number);
  expect(pieces.map(({ at }) => at)).toContain(again);
});
