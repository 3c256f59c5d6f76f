/** PrefixTable against a list that is searched from the longest, with a printed seed. */
import { describe, expect, test } from "bun:test";
import {
  bitsOf,
  type Family,
  formatPrefix,
  ip,
  ipBytes,
  type Prefix,
  prefixContains,
  prefixOf,
} from "../../net/mod.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import { NOTHING, PrefixTable } from "./prefix-table.ts";

const seed = newSeed();

class SlowTable {
  readonly prefixes = new Map<string, { readonly prefix: Prefix; readonly value: number }>();

  find(family: Family, value: bigint): number {
    let best = { length: -1, value: NOTHING };
    for (const { prefix, value: found } of this.prefixes.values())
      if (prefixContains(prefix, { family, value }) && prefix.length > best.length)
        best = { length: prefix.length, value: found };
    return best.value;
  }
}

/** Addresses near each other, so that prefixes lie inside each other. */
function address(random: Random, family: Family) {
  const wide = family === 4 ? BigInt(random.u32()) : (random.u64() << 64n) | random.u64();
  const few = family === 4 ? 0x0003_0307n : (0x0003n << 112n) | (0x0003_0003n << 64n) | 0x0107n;
  return ip(family, random.chance(0.9) ? wide & few : wide);
}

describe.each([4, 6] as const)("IPv%d", (family) => {
  test(`finds what a search of all finds, through changes (seed ${seed})`, () => {
    const random = new Random(seed);
    const table = new PrefixTable(family);
    const slow = new SlowTable();
    for (let round = 0; round < 600; round++) {
      const prefix = prefixOf(address(random, family), random.below(bitsOf(family) + 1));
      const text = formatPrefix(prefix);
      if (random.chance(0.48)) expect(table.remove(prefix)).toBe(slow.prefixes.delete(text));
      else {
        const value = random.below(1000);
        table.set(prefix, value);
        slow.prefixes.set(text, { prefix, value });
      }
      expect(table.size).toBe(slow.prefixes.size);
      expect(table.get(prefix)).toBe(slow.prefixes.get(text)?.value);
      for (let i = 0; i < 8; i++) {
        const asked = random.chance(0.5) ? address(random, family) : ip(family, prefix.value);
        expect(table.find(ipBytes(asked), 0)).toBe(slow.find(family, asked.value));
      }
    }
    for (const { prefix } of [...slow.prefixes.values()]) table.remove(prefix);
    expect(table.size).toBe(0);
    expect(table.tables).toBe(0);
  });
});

test("a full table refuses and stays as it was", () => {
  const table = new PrefixTable(6, 14);
  const one = { family: 6, value: 1n, length: 128 } as const;
  table.set(one, 5);
  expect(() => table.set({ ...one, value: 1n << 100n }, 6)).toThrow("its table is full");
  expect(table.size).toBe(1);
  table.remove(one);
  table.set({ ...one, value: 1n << 100n }, 6);
});
