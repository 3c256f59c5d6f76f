import { expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { formatIp, formatPrefix, ip, parseIp, parsePrefix } from "../net/mod.ts";
import { blockCount, firstOf, isScarce, lastFree, nextBlock } from "./next-block.ts";
import { addressAt, blockSize, type SubnetRanges, useOf } from "./subnet-ranges.ts";

const range = (first: string, last = first) => ({ first: parseIp(first), last: parseIp(last) });
const subnet = (text: string, more: Partial<SubnetRanges> = {}): SubnetRanges => {
  const prefix = parsePrefix(text);
  return {
    name: "web",
    prefixes: [prefix],
    gateways: [ip(prefix.family, prefix.value + 1n)],
    reserved: [],
    fixed: [],
    ...more,
  };
};
const next = (of: SubnetRanges, after?: number, held: string[] = []) => {
  const found = nextBlock(of, of.prefixes[0] as never, {
    after,
    held: (block) => (held.includes(formatPrefix(block)) ? "all" : 0),
  });
  return found && [formatPrefix(found.block), found.usable.toString(2)];
};

test("blocks of 16 from the beginning, without network, gateway and broadcast", () => {
  expect(next(subnet("10.1.0.0/24"))).toEqual(["10.1.0.0/28", "1111111111111100"]);
  expect(next(subnet("10.1.0.0/24"), 14)).toEqual(["10.1.0.240/28", "111111111111111"]);
  expect(next(subnet("fd00::/64"), 65535)).toEqual(["fd00::/124", "1111111111111100"]);
});

test("single addresses in a subnet of /26 or smaller; both of a point-to-point one", () => {
  expect(next(subnet("10.1.0.64/26"))).toEqual(["10.1.0.66/32", "1"]);
  expect(next(subnet("10.1.0.0/25"))?.[0]).toBe("10.1.0.0/28");
  expect(next(subnet("fd00::/122"))).toEqual(["fd00::2/128", "1"]);
  expect(next(subnet("10.1.0.0/31", { gateways: [] }))).toEqual(["10.1.0.0/32", "1"]);
});

test("the search goes on behind the last one and wraps; nothing is left when all is held", () => {
  const of = subnet("10.1.0.0/29");
  expect(next(of, 6)?.[0]).toBe("10.1.0.2/32");
  expect(next(of, 3, ["10.1.0.4/32", "10.1.0.5/32", "10.1.0.6/32"])?.[0]).toBe("10.1.0.2/32");
  const all = [2, 3, 4, 5, 6].map((n) => `10.1.0.${n}/32`);
  expect(next(of, 3, all)).toBeUndefined();
});

test("a large range that is kept back costs one step", () => {
  const of = subnet("10.0.0.0/8", { reserved: [range("10.0.0.0", "10.12.255.255")] });
  let asked = 0;
  const found = nextBlock(of, of.prefixes[0] as never, { after: undefined, held: () => (asked++, 0) });
  expect([found && formatPrefix(found.block), asked]).toEqual(["10.13.0.0/28", 1]);
  expect(blockCount(parsePrefix("10.0.0.0/8"))).toBe(65_536);
});

test("the last quarter of what can be had is scarce", () => {
  const scarceFrom = (of: SubnetRanges) =>
    Array.from({ length: 65_536 }, (_, n) => n).find((n) => isScarce(of, of.prefixes[0] as never, n));
  expect(scarceFrom(subnet("10.1.0.0/24"))).toBe(12);
  expect(scarceFrom(subnet("10.1.0.0/24", { reserved: [range("10.1.0.100", "10.1.0.255")] }))).toBe(6);
  expect(scarceFrom(subnet("10.1.0.0/24", { fixed: [range("10.1.0.1", "10.1.0.14")] }))).toBe(12);
  expect(isScarce(subnet("10.1.0.0/26"), parsePrefix("10.1.0.0/26"), 60)).toBe(false);
  const block = { index: 3, block: parsePrefix("10.1.0.48/28"), usable: 0b1010000 };
  expect(formatPrefix(firstOf(block).block)).toBe("10.1.0.52/32");
  expect(formatPrefix(firstOf({ ...block, usable: 0x8000 }).block)).toBe("10.1.0.63/32");
});

test("what keeps its address stands at the end", () => {
  const of = subnet("10.1.0.0/24");
  const free = (...taken: number[]) =>
    lastFree(of.prefixes[0] as never, {
      limit: 4,
      free: (address) => useOf(of, address) === "dynamic" && !taken.includes(Number(address.value % 256n)),
    });
  expect(formatIp(free() as never)).toBe("10.1.0.254");
  expect(formatIp(free(254, 253) as never)).toBe("10.1.0.252");
  expect(free(254, 253, 252)).toBeUndefined();
});

const seed = newSeed();
test(`the blocks of a subnet hold each address that may be handed out once (SEED=${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 40; round++) {
    const length = 22 + random.below(9);
    const size = 2 ** (32 - length);
    const base = 0x0a010000n;
    const some = () => {
      const first = random.below(size);
      const last = Math.min(size - 1, first + random.below(1 + size / 3));
      return { first: ip(4, base + BigInt(first)), last: ip(4, base + BigInt(last)) };
    };
    const of = subnet(`10.1.0.0/${length}`, {
      reserved: Array.from({ length: random.below(3) }, some),
      fixed: Array.from({ length: random.below(3) }, some),
    });
    const prefix = of.prefixes[0] as never;
    const taken = new Set<string>();
    const got: string[] = [];
    for (let after: number | undefined = random.below(blockCount(prefix)); ;) {
      const found = nextBlock(of, prefix, {
        after,
        held: (block) => (taken.has(formatPrefix(block)) ? "all" : 0),
      });
      if (found === undefined) break;
      after = found.index;
      taken.add(formatPrefix(found.block));
      for (let i = 0; i < blockSize(found.block); i++)
        if (((found.usable >> i) & 1) === 1) got.push(formatIp(addressAt(found.block, i)));
    }
    const all = Array.from({ length: size }, (_, i) => ip(4, base + BigInt(i)));
    expect(got.sort()).toEqual(
      all
        .filter((address) => useOf(of, address) === "dynamic")
        .map(formatIp)
        .sort(),
    );
  }
});
