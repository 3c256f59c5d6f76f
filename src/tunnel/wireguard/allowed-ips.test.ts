import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import {
  bitsOf,
  type Family,
  formatPrefix,
  type Ip,
  ip,
  ipBytes,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixBytes,
  prefixContains,
  prefixOf,
} from "../../net/mod.ts";
import { AllowedIps } from "./allowed-ips.ts";
import { PrefixTrie } from "./prefix-trie.ts";

/** The same, as a list that is searched from end to end. */
class Model {
  readonly entries = new Map<string, { prefix: Prefix; peer: number }>();

  insert(prefix: Prefix, peer: number): void {
    this.entries.set(formatPrefix(prefix), { prefix, peer });
  }

  remove(prefix: Prefix, peer: number): boolean {
    return this.entries.get(formatPrefix(prefix))?.peer === peer && this.entries.delete(formatPrefix(prefix));
  }

  clear(peer: number): void {
    for (const [key, entry] of this.entries) if (entry.peer === peer) this.entries.delete(key);
  }

  find(address: Ip): number | undefined {
    let best: { prefix: Prefix; peer: number } | undefined;
    for (const entry of this.entries.values())
      if (prefixContains(entry.prefix, address) && entry.prefix.length >= (best?.prefix.length ?? 0))
        best = entry;
    return best?.peer;
  }

  list(): string[] {
    return [...this.entries.values()].map(({ prefix, peer }) => `${formatPrefix(prefix)} ${peer}`).sort();
  }
}

const listed = (allowed: AllowedIps) =>
  [...allowed.list()].flatMap(([peer, prefixes]) => prefixes.map((p) => `${formatPrefix(p)} ${peer}`)).sort();

test("the longest prefix decides; a prefix moves from peer to peer", () => {
  const allowed = new AllowedIps();
  for (const [text, peer] of [
    ["0.0.0.0/0", 1],
    ["10.0.0.0/8", 2],
    ["10.1.0.0/24", 3],
    ["10.1.2.0/23", 4],
    ["10.1.2.3/32", 5],
    ["::/0", 6],
    ["fd00::/8", 7],
    ["fd00::1/128", 8],
  ] as const)
    allowed.insert(parsePrefix(text), peer);
  const find = (text: string) => allowed.find(parseIp(text));
  expect(["9.9.9.9", "10.9.9.9", "10.1.0.7", "10.1.3.3", "10.1.2.3"].map(find)).toEqual([1, 2, 3, 4, 5]);
  expect(["2001:db8::1", "fd00::2", "fd00::1"].map(find)).toEqual([6, 7, 8]);
  allowed.insert(parsePrefix("10.1.2.0/23"), 9);
  expect(find("10.1.3.3")).toBe(9);
  expect(allowed.remove(parsePrefix("10.1.2.0/23"), 4)).toBe(false);
  expect(allowed.remove(parsePrefix("10.1.2.0/23"), 9)).toBe(true);
  expect([find("10.1.3.3"), find("10.1.2.3")]).toEqual([2, 5]);
  expect(allowed.list().get(1)?.map(formatPrefix)).toEqual(["0.0.0.0/0"]);
});

test("an empty table has nobody", () => {
  const allowed = new AllowedIps();
  expect(allowed.find(parseIp("10.0.0.1"))).toBeUndefined();
  expect(allowed.remove(parsePrefix("10.0.0.0/8"), 1)).toBe(false);
  expect(listed(allowed)).toEqual([]);
});

test("addresses of packets are found by their place; what is no IP packet has none", () => {
  const allowed = new AllowedIps();
  allowed.insert(parsePrefix("10.0.0.1/32"), 1);
  allowed.insert(parsePrefix("10.0.0.2/32"), 2);
  allowed.insert(parsePrefix("fd00::1/128"), 3);
  allowed.insert(parsePrefix("fd00::2/128"), 4);
  const four = Uint8Array.of(0x45, ...new Array<number>(11).fill(0), 10, 0, 0, 1, 10, 0, 0, 2);
  expect([allowed.source(four), allowed.destination(four)]).toEqual([1, 2]);
  const six = Uint8Array.of(
    0x60,
    ...new Array<number>(7).fill(0),
    ...ipBytes(parseIp("fd00::1")),
    ...ipBytes(parseIp("fd00::2")),
  );
  expect([allowed.source(six), allowed.destination(six)]).toEqual([3, 4]);
  for (const bad of [
    new Uint8Array(0),
    four.subarray(0, 19),
    six.subarray(0, 39),
    Uint8Array.of(0x55, ...four.subarray(1)),
  ])
    expect([allowed.source(bad), allowed.destination(bad)]).toEqual([undefined, undefined]);
});

const seed = newSeed();
describe(`against a list (seed ${seed})`, () => {
  const random = new Random(seed);

  /** Addresses that share long beginnings, so that prefixes nest. */
  const address = (family: Family): Ip => {
    const width = BigInt(bitsOf(family));
    let value = random.pick([0n, 10n << (width - 8n), 0xfdn << (width - 8n), (1n << width) - 1n]);
    for (let flips = random.below(6); flips > 0; flips--) value ^= 1n << BigInt(random.below(Number(width)));
    return ip(family, value);
  };
  const prefix = (family: Family) => prefixOf(address(family), random.below(bitsOf(family) + 1));

  test("insert, move, remove, clear, find, list", () => {
    for (let round = 0; round < 60; round++) {
      const [allowed, model] = [new AllowedIps(), new Model()];
      for (let i = 0; i < 150; i++) {
        const one = prefix(random.pick([4, 6]));
        const peer = random.below(8);
        const what = random.below(20);
        if (what < 12) {
          allowed.insert(one, peer);
          model.insert(one, peer);
        } else if (what < 19) {
          const known = [...model.entries.values()];
          const target = known.length > 0 && random.chance(0.8) ? random.pick(known) : { prefix: one, peer };
          expect(allowed.remove(target.prefix, target.peer)).toBe(model.remove(target.prefix, target.peer));
        } else {
          allowed.clear(peer);
          model.clear(peer);
        }
        for (let k = 0; k < 4; k++) {
          const probe = address(random.pick([4, 6]));
          expect(allowed.find(probe)).toBe(model.find(probe) as number);
        }
      }
      expect(listed(allowed)).toEqual(model.list());
      for (let peer = 0; peer < 8; peer++) allowed.clear(peer);
      expect(listed(allowed)).toEqual([]);
    }
  });

  test("no node is lost: an emptied trie has none, a full one less than two for each prefix", () => {
    const trie = new PrefixTrie(16, 1 << 12);
    const prefixes = new Map(Array.from({ length: 500 }, () => prefix(6)).map((p) => [formatPrefix(p), p]));
    for (const one of prefixes.values()) trie.insert({ bytes: prefixBytes(one), length: one.length }, 1);
    expect(trie.size).toBeLessThan(2 * prefixes.size);
    for (const one of prefixes.values())
      expect(trie.remove({ bytes: prefixBytes(one), length: one.length }, 1)).toBe(true);
    expect(trie.size).toBe(0);
  });
});

test("a full trie says no and stays as it was", () => {
  const trie = new PrefixTrie(4, 8);
  const values = Array.from({ length: 9 }, (_, i) =>
    trie.insert({ bytes: Uint8Array.of(i, 0, 0, 0), length: 8 }, i),
  );
  expect(values.filter(Boolean).length).toBeLessThan(9);
  expect(trie.size).toBeLessThanOrEqual(8);
  expect(trie.find(Uint8Array.of(0, 1, 2, 3), 0)).toBe(0);
});
