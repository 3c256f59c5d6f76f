import { expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { ip, type Prefix, prefixesOverlap, prefixOf } from "../net/mod.ts";
import { overlaps } from "./overlaps.ts";

const seed = newSeed();
test(`pairs are those that a look at each finds (SEED=${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 200; round++) {
    const list = Array.from({ length: random.below(30) }, (_, at): { at: number; prefix: Prefix } => {
      const family = random.chance(0.7) ? 4 : 6;
      const bits = family === 4 ? 32 : 128;
      const value = BigInt(random.below(64)) << BigInt(bits - 6);
      return { at, prefix: prefixOf(ip(family, value), random.below(8)) };
    });
    const slow = list.flatMap((one, i) =>
      list.slice(0, i).flatMap((other) => (prefixesOverlap(one.prefix, other.prefix) ? [[other, one]] : [])),
    );
    expect(overlaps(list)).toEqual(slow as never);
  }
});
