import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { Arena } from "../../sys/mod.ts";
import { type Checksum, checksumOf, fold, fold32, slowChecksum, swap16, wasmChecksum } from "./checksum.ts";

/** RFC 1071 section 1, word by word in network order. */
function model(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

/** One's complement has two zeros. */
const same = (a: number, b: number) => a % 0xffff === b % 0xffff;

const arena = new Arena({ bytes: 1 << 20 });
const both: readonly [string, Checksum][] = [
  ["WebAssembly", wasmChecksum(arena)],
  ["TypeScript", slowChecksum(arena)],
];

test("the runtime's vectors are used", () => {
  expect(checksumOf(arena).name).toBe("WebAssembly");
});

describe.each(both)("checksum in %s", (_, checksum) => {
  test("RFC 1071 section 3", () => {
    arena.store(1000, new Uint8Array([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]));
    expect(swap16(checksum.sum(1000, 8))).toBe(0xddf2);
    expect(checksum.sum(1000, 0)).toBe(0);
  });

  const seed = newSeed();
  test(`every length to 300 at every alignment, and a copy that is equal (SEED=${seed})`, () => {
    const random = new Random(seed);
    const bytes = random.bytes(1000);
    arena.store(4096, bytes);
    for (let length = 0; length <= 300; length++) {
      const offset = length % 67;
      const expected = model(bytes.subarray(offset, offset + length));
      const sum = checksum.sum(4096 + offset, length);
      expect(sum).toBeLessThanOrEqual(0xffff);
      expect(same(swap16(sum), expected)).toBe(true);
      arena.u8.fill(0xee, 8192, 8192 + 600);
      expect(same(swap16(checksum.copySum(8192 + 64 + (length % 5), 4096 + offset, length)), expected)).toBe(
        true,
      );
      const to = 8192 + 64 + (length % 5);
      expect(arena.copy(to, length)).toEqual(bytes.slice(offset, offset + length));
      // Not one byte before or behind.
      expect([arena.u8[to - 1], arena.u8[to + length]]).toEqual([0xee, 0xee]);
    }
  });

  test("the longest packet of ones does not run over", () => {
    arena.u8.fill(0xff, 100_000, 300_000);
    const expected = (length: number) => model(new Uint8Array(length).fill(0xff));
    for (const length of [65_535, 200_000])
      expect(same(swap16(checksum.sum(100_000, length)), expected(length))).toBe(true);
    expect(same(swap16(checksum.copySum(400_000, 100_000, 65_535)), expected(65_535))).toBe(true);
  });

  test("outside of the arena is an error", () => {
    expect(() => checksum.sum(arena.bytes - 10, 11)).toThrow();
    expect(() => checksum.sum(arena.bytes - 100, 101)).toThrow();
    expect(() => checksum.copySum(arena.bytes - 63, 0, 64)).toThrow();
    expect(() => checksum.copySum(0, arena.bytes - 63, 64)).toThrow();
  });
});

test("folding", () => {
  for (const [total, folded] of [
    [0, 0],
    [0xffff, 0xffff],
    [0x10000, 1],
    [0x1fffe, 0xffff],
    [0x7fffffff, 0x7fff + 0xffff - 0xffff],
  ] as const) {
    expect(fold(total)).toBe(folded);
    expect(fold32(total)).toBe(folded);
  }
  expect(swap16(0x1234)).toBe(0x3412);
});
