/** What somebody can do to a pair of nodes who sends with the address of one of them, and what he cannot. */
import { describe, expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { RelayWorld } from "../../../test/support/relay-world.ts";
import { parseEndpoint } from "../../net/mod.ts";
import {
  INITIATION_BURST,
  MOST_AT_ONCE,
  PENDING_MS,
  RECENT_HASH_BURST,
  SEARCH_HASH_BURST,
} from "./limits.ts";

const seed = newSeed();

describe("initiations that were recorded", () => {
  test("one that is played back, for as long as one likes, takes nothing from the pair's own", () => {
    const world = new RelayWorld(2, { seed });
    const [a, b] = [world.node(1), world.node(2)];
    const recorded = world.initiation(b.key, 10);
    expect(world.take(a, recorded)).toEqual({ to: 2 });
    let refused = 0;
    for (let i = 0; i < 30_000; i++) {
      world.nowMs += 10;
      if (i % 100 === 0) {
        world.relay.due(world.nowMs);
        for (const node of [a, b]) world.live(node);
      }
      const verdict = world.take(a, recorded);
      if (verdict !== undefined && "drop" in verdict && verdict.drop === "budget") refused++;
      // WireGuard begins one in five seconds.
      if (i % 500 !== 499) continue;
      expect(world.take(a, world.initiation(b.key, 1000 + i))).toEqual({ to: 2 });
      expect(world.take(b, world.response(5000 + i, 1000 + i))).toEqual({ to: 1 });
    }
    expect(refused).toBeGreaterThan(29_000);
  });

  test("nor do several, after their circuits ended; and they displace none that waits", () => {
    const world = new RelayWorld(2, { seed });
    const [a, b] = [world.node(1), world.node(2)];
    const recorded = Array.from({ length: 40 }, (_, i) => world.initiation(b.key, 300 + i));
    for (const one of recorded) {
      world.nowMs += 1000;
      for (const node of [a, b]) world.live(node);
      expect(world.take(a, one)).toEqual({ to: 2 });
      world.relay.due(world.nowMs);
    }
    world.nowMs += PENDING_MS;
    world.relay.due(world.nowMs);
    const own = world.initiation(b.key, 10);
    expect(world.take(a, own)).toEqual({ to: 2 });
    for (const one of recorded) world.take(a, one);
    expect(world.take(b, world.response(20, 10))).toEqual({ to: 1 });
    // And none of the budget is gone but for that one.
    for (let i = 1; i < INITIATION_BURST; i++)
      expect(world.take(a, world.initiation(b.key, 2000 + i))).toEqual({ to: 2 });
    expect(world.take(a, world.initiation(b.key, 3000))).toEqual({ drop: "budget" });
  });

  test("those of the other direction, and of other pairs, are others", () => {
    const world = new RelayWorld(3, { seed });
    const [a, b, c] = [world.node(1), world.node(2), world.node(3)];
    for (let i = 0; i < INITIATION_BURST; i++) {
      expect(world.take(a, world.initiation(b.key, i))).toEqual({ to: 2 });
      expect(world.take(b, world.initiation(a.key, i))).toEqual({ to: 1 });
      expect(world.take(a, world.initiation(c.key, i))).toEqual({ to: 3 });
    }
    for (const [from, to] of [
      [a, b],
      [b, a],
      [a, c],
    ] as const)
      expect(world.take(from, world.initiation(to.key, 999))).toEqual({ drop: "budget" });
    expect(world.relay.counts).toMatchObject({ circuits: 0, pairs: 2 });
  });
});

test("initiations for nobody with a node's address leave it those for its latest partners", () => {
  const world = new RelayWorld(100, { seed });
  const a = world.node(1);
  for (let number = 2; number <= 60; number++)
    world.meet(a, world.node(number), [1000 + number, 3000 + number]);
  const before = world.relay.counters.budget;
  // Each is 59 partners of four hashes, and then a search among all.
  const enough = (RECENT_HASH_BURST + SEARCH_HASH_BURST) / 100;
  for (let i = 0; i < enough; i++) world.take(a, world.initiation(world.hub, 0).fill(i, 116, 132));
  expect(world.relay.counters.budget).toBeGreaterThan(before + 100);
  for (let number = 60; number > 60 - MOST_AT_ONCE; number--)
    expect(world.take(a, world.initiation(world.node(number).key, 7000 + number))).toEqual({ to: number });
  expect(world.take(a, world.initiation(world.node(2).key, 8000))).toEqual({ drop: "budget" });
});

describe("a place that was taken with a forged address", () => {
  test("goes to who proves to be there, and is not given back for packets", () => {
    const world = new RelayWorld(3, { seed });
    const [thief, a, b] = [world.node(1), world.node(2), world.node(3)];
    const home = parseEndpoint("198.51.100.7:7");
    world.live(thief, home);
    world.live(a, home);
    expect(world.places.has(2)).toBe(false);
    expect(world.take(b, world.initiation(a.key, 10))).toEqual({ drop: "absent" });
    world.nowMs += 1000;
    world.live(a, home, { provenMs: world.nowMs });
    expect(world.places.get(2)).toBe(`${home.ip.value}:7`);
    expect(world.places.has(1)).toBe(false);
    expect(world.take(b, world.initiation(a.key, 11))).toEqual({ to: 2 });
    expect(world.take(home, world.response(20, 11))).toEqual({ to: 3 });
    for (let i = 0; i < 100; i++) {
      world.nowMs += 1000;
      world.live(thief, home);
    }
    expect(world.places.get(2)).toBe(`${home.ip.value}:7`);
    // Who was put away waits, as everybody else.
    world.live(a, a.at);
    expect(world.places.get(1)).toBe(`${home.ip.value}:7`);
  });

  test("goes to the one that proved it last, where an address has changed hands", () => {
    const world = new RelayWorld(2, { seed });
    const [before, after] = [world.node(1), world.node(2)];
    world.live(before, before.at, { provenMs: world.nowMs });
    world.live(after, before.at, { provenMs: world.nowMs });
    expect([...world.places.keys()]).toEqual([1]);
    world.nowMs++;
    world.live(after, before.at, { provenMs: world.nowMs });
    expect([...world.places.keys()]).toEqual([2]);
    world.live(before, before.at, { provenMs: world.nowMs - 1 });
    expect([...world.places.keys()]).toEqual([2]);
  });
});
