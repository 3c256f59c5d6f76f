import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { ipBytes, parseEndpoint } from "../../net/mod.ts";
import { Arena, socketAddress } from "../../sys/mod.ts";
import { Bucket } from "./bucket.ts";
import { CircuitTable } from "./circuit-table.ts";
import { Meters } from "./meters.ts";
import { PlaceTable } from "./place-table.ts";

const seed = newSeed();

describe("circuits as workers have them", () => {
  test(`the table does what a map does, also while it grows and where entries collide (seed ${seed})`, () => {
    const random = new Random(seed);
    const table = new CircuitTable(random.bytes(8));
    const model = new Map<string, { readonly to: number; readonly meter: number }>();
    const anything = () =>
      [1 + random.below(60), random.chance(0.5) ? random.below(80) : random.u32()] as const;
    for (let i = 0; i < 30_000; i++) {
      const [source, index] = anything();
      if (random.chance(i < 15_000 ? 0.7 : 0.3)) {
        const entry = { to: random.below(1000), meter: random.below(1000) };
        expect(table.set(source, index, entry)).toBe(true);
        model.set(`${source} ${index}`, entry);
      } else {
        table.delete(source, index);
        model.delete(`${source} ${index}`);
      }
      const [one, other] = anything();
      const found = table.find(one, other);
      const known = model.get(`${one} ${other}`);
      expect(found < 0).toBe(known === undefined);
      if (known !== undefined) expect([table.to(found), table.meter(found)]).toEqual([known.to, known.meter]);
    }
    expect(table.size).toBe(model.size);
    for (const [key, { to }] of model) {
      const [source, index] = key.split(" ").map(Number) as [number, number];
      expect(table.to(table.find(source, index))).toBe(to);
    }
  });

  test("nobody is node 0, which means that a place is free", () => {
    expect(() => new CircuitTable(new Uint8Array(8)).set(0, 1, { to: 1, meter: 1 })).toThrow(RangeError);
  });
});

describe("places of nodes", () => {
  const arena = new Arena({ bytes: 1 << 16 });
  const at = arena.allocate(28);

  function find(table: PlaceTable, text: string): number {
    const { ip, port } = parseEndpoint(text);
    arena.wipe(at, 28);
    arena.store(at, socketAddress(ipBytes(ip), port));
    return table.find(arena, at);
  }

  test(`the table does what two maps do, in both families (seed ${seed})`, () => {
    const random = new Random(seed);
    const table = new PlaceTable(random.bytes(8));
    const nodes = new Map<number, string>();
    const anywhere = () =>
      random.chance(0.5)
        ? `10.0.${random.below(4)}.${random.below(200)}:${1 + random.below(3)}`
        : `[2001:db8::${random.below(4).toString(16)}:${random.below(200).toString(16)}]:${1 + random.below(3)}`;
    for (let i = 0; i < 8_000; i++) {
      const node = 1 + random.below(1200);
      if (random.chance(0.6)) {
        const place = anywhere();
        for (const [other, there] of nodes) if (there === place) nodes.delete(other);
        nodes.set(node, place);
        const { ip, port } = parseEndpoint(place);
        table.set(node, socketAddress(ipBytes(ip), port));
      } else {
        nodes.delete(node);
        table.set(node, undefined);
      }
      const wanted = anywhere();
      const expected = [...nodes].find(([, place]) => place === wanted)?.[0] ?? 0;
      expect(find(table, wanted)).toBe(expected);
      expect(table.has(node)).toBe(nodes.has(node));
    }
    expect(table.size).toBe(nodes.size);
    for (const [node, place] of nodes) expect(find(table, place)).toBe(node);
  });

  test("the port, the family and each byte of the address count; scope and flow label do not", () => {
    const table = new PlaceTable(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    table.set(7, socketAddress(ipBytes(parseEndpoint("[fe80::1]:5").ip), 5, 3));
    expect(find(table, "[fe80::1]:5")).toBe(7);
    expect(find(table, "[fe80::1]:6")).toBe(0);
    expect(find(table, "[fe80::2]:5")).toBe(0);
    expect(find(table, "[fe81::1]:5")).toBe(0);
    arena.store(at, socketAddress(ipBytes(parseEndpoint("[fe80::1]:5").ip), 5, 9));
    arena.view.setUint32(at + 4, 0x1234);
    expect(table.find(arena, at)).toBe(7);
  });
});

test("a bucket gives its burst and then its rate, and never more than its burst", () => {
  const bucket = new Bucket({ perSecond: 10, burst: 3 }, 0);
  expect([1, 2, 3, 4].map(() => bucket.takeOne(0))).toEqual([true, true, true, false]);
  expect(bucket.takeOne(99)).toBe(false);
  expect(bucket.takeOne(100)).toBe(true);
  expect(bucket.left(1e9)).toBe(3);
  // A clock that stands still or goes back earns nothing.
  expect(bucket.left(5)).toBe(3);
});

test("meters let a pair's rate through, each by itself, and everything without a rate", () => {
  const meters = new Meters();
  expect(meters.allow(5, 1e9, 0)).toBe(true);
  meters.setRate(1000);
  const through = (meter: number, fromMs: number, ms: number) => {
    let bytes = 0;
    for (let now = fromMs; now < fromMs + ms; now += 10) if (meters.allow(meter, 100, now)) bytes += 100;
    return bytes;
  };
  // The burst first.
  for (let i = 0; i < 10_000; i++) meters.allow(5, 100, 1e6);
  const bytes = through(5, 1e6, 10_000);
  expect(bytes).toBeGreaterThanOrEqual(9900);
  expect(bytes).toBeLessThanOrEqual(10_000);
  expect(meters.allow(600, 100_000, 2e6)).toBe(true);
  meters.setRate(undefined);
  expect(meters.allow(5, 1e9, 1e6)).toBe(true);
});
