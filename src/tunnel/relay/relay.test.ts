import { describe, expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { OWN_INDEX, RelayWorld } from "../../../test/support/relay-world.ts";
import { parseEndpoint, PrivateKey, publicKeyBytes } from "../../net/mod.ts";
import { macKeys } from "../wireguard/mac.ts";
import { systemPrimitives as primitives } from "../wireguard/mod.ts";
import {
  INITIATION_BURST,
  LIVE_MS,
  MOST_ANSWERS,
  MOST_LIVE,
  MOST_PENDING,
  MOST_RECENT,
  PENDING_MS,
  SEARCH_HASH_BURST,
} from "./limits.ts";

const seed = newSeed();

const makeWorld = (count: number, classOf?: (number: number) => number) =>
  new RelayWorld(count, { seed, ...(classOf === undefined ? {} : { classOf }) });

describe("handshakes", () => {
  test("an initiation goes to whom its mac1 names, the response back, and both teach the circuits of data", () => {
    const world = makeWorld(3);
    const [a, b] = [world.node(1), world.node(3)];
    expect(world.take(a, world.initiation(b.key, 10))).toEqual({ to: 3 });
    // Nobody sends data before the response.
    expect(world.circuits.size).toBe(0);
    expect(world.take(b, world.response(20, 10))).toEqual({ to: 1 });
    expect([...world.circuits]).toEqual([
      ["3 10", 1],
      ["1 20", 3],
    ]);
    expect(world.relay.carries(a.at, 20)).toBe(true);
    expect(world.relay.carries(b.at, 20)).toBe(false);
    expect(world.relay.counts).toMatchObject({ circuits: 2, pairs: 1 });
  });

  test("cookie replies go both ways, before and after the response", () => {
    const world = makeWorld(2);
    const [a, b] = [world.node(1), world.node(2)];
    world.take(a, world.initiation(b.key, 10));
    expect(world.take(b, world.cookie(10))).toEqual({ to: 1 });
    expect(world.take(a, world.cookie(20))).toEqual({ drop: "unknown" });
    world.take(b, world.response(20, 10));
    expect(world.take(a, world.cookie(20))).toEqual({ to: 2 });
  });

  test("what is for the hub is none of the relay's: by mac1, by index", () => {
    const world = makeWorld(2);
    const a = world.node(1);
    expect(world.take(a, world.initiation(world.hub, 10))).toBeUndefined();
    expect(world.take(a, world.response(20, OWN_INDEX))).toBeUndefined();
    expect(world.take(a, world.cookie(OWN_INDEX))).toBeUndefined();
  });

  test("an index of the hub's own is no circuit's", () => {
    const world = makeWorld(2);
    const [a, b] = [world.node(1), world.node(2)];
    expect(world.take(a, world.initiation(b.key, OWN_INDEX))).toEqual({ drop: "taken" });
    world.take(a, world.initiation(b.key, 10));
    expect(world.take(b, world.response(OWN_INDEX, 10))).toEqual({ drop: "taken" });
    expect(world.circuits.size).toBe(0);
  });

  test("nobody is forwarded to who is the sender, unknown, not live, or of a class that may not talk", () => {
    const world = makeWorld(4, (number) => (number === 4 ? 2 : 1));
    const a = world.node(1);
    expect(world.take(a, world.initiation(a.key, 1))).toEqual({ drop: "unknown" });
    expect(world.take(a, world.initiation(PrivateKey.random(), 1))).toEqual({ drop: "unknown" });
    expect(world.take(a, world.initiation(world.node(4).key, 1))).toEqual({ drop: "forbidden" });
    world.live(world.node(2), undefined);
    world.relay.peer(
      2,
      {
        publicKey: world.node(2).key.publicKey,
        macKeys: macKeys(primitives, publicKeyBytes(world.node(2).key.publicKey)),
      },
      world.nowMs,
    );
    expect(world.take(a, world.initiation(world.node(2).key, 1))).toEqual({ drop: "absent" });
    world.nowMs += 180_000;
    world.live(a);
    expect(world.take(a, world.initiation(world.node(3).key, 1))).toEqual({ drop: "absent" });
    expect(world.relay.counts).toMatchObject({ circuits: 0, pairs: 0 });
  });

  test("a message from another place than a live node's is nobody's", () => {
    const world = makeWorld(2);
    const bytes = world.initiation(world.node(2).key, 1);
    expect(world.take(parseEndpoint("192.0.2.1:9"), bytes)).toBeUndefined();
    expect(world.take(parseEndpoint("192.0.2.99:1001"), bytes)).toBeUndefined();
    world.nowMs += 180_000;
    expect(world.take(world.node(1), bytes)).toBeUndefined();
  });

  test("an index that another pair uses toward the same node is refused, and lives on", () => {
    const world = makeWorld(3);
    const [a, b, c] = [world.node(1), world.node(2), world.node(3)];
    world.meet(a, c, [10, 30]);
    // The same sender index of another initiator toward the same node.
    expect(world.take(b, world.initiation(c.key, 10))).toEqual({ drop: "taken" });
    expect(world.take(b, world.initiation(c.key, 11))).toEqual({ to: 3 });
    // And toward another one it is another circuit.
    world.meet(a, b, [10, 40]);
    expect(world.circuits.get("3 10")).toBe(1);
    expect(world.circuits.get("2 10")).toBe(1);
    // A responder that chooses an index that its initiator gets from somebody else.
    world.take(a, world.initiation(b.key, 12));
    expect(world.take(b, world.response(30, 12))).toEqual({ drop: "taken" });
    expect(world.circuits.get("1 30")).toBe(3);
  });

  test("a pair's own circuits give way to newer ones: pending ones to pending ones, live ones to live ones", () => {
    const world = makeWorld(2);
    const [a, b] = [world.node(1), world.node(2)];
    world.meet(a, b, [1, 2]);
    for (let i = 0; i < MOST_PENDING + 1; i++) world.take(a, world.initiation(b.key, 100 + i));
    expect(world.circuits.get("2 1")).toBe(1);
    expect(world.take(b, world.response(3, 100))).toEqual({ drop: "unknown" });
    expect(world.take(b, world.response(3, 101))).toEqual({ to: 1 });
    for (let i = 0; i < 3 * MOST_LIVE; i++) {
      world.nowMs += 1000;
      world.live(a);
      world.live(b);
      world.meet(a, b, [1000 + i, 5000 + i]);
    }
    expect(world.relay.counts.circuits).toBe(MOST_LIVE);
    expect(world.circuits.size).toBe(MOST_LIVE);
    expect(world.circuits.has("2 1")).toBe(false);
  });

  test("one initiation is answered by a few different responses at most", () => {
    const world = makeWorld(2);
    const [a, b] = [world.node(1), world.node(2)];
    world.take(a, world.initiation(b.key, 10));
    for (let i = 0; i < MOST_ANSWERS; i++)
      expect(world.take(b, world.response(20 + i, 10))).toEqual({ to: 1 });
    expect(world.take(b, world.response(99, 10))).toEqual({ drop: "full" });
    expect(world.take(b, world.response(20, 10))).toEqual({ to: 1 });
    expect(world.relay.counts.circuits).toBe(1 + MOST_ANSWERS);
  });

  test("initiations of a pair are counted, in each direction by itself", () => {
    const world = makeWorld(2);
    const [a, b] = [world.node(1), world.node(2)];
    for (let i = 0; i < INITIATION_BURST; i++)
      expect(world.take(a, world.initiation(b.key, i))).toEqual({ to: 2 });
    expect(world.take(a, world.initiation(b.key, 99))).toEqual({ drop: "budget" });
    expect(world.take(b, world.initiation(a.key, 99))).toEqual({ to: 1 });
    world.nowMs += 1000;
    expect(world.take(a, world.initiation(b.key, 99))).toEqual({ to: 2 });
  });
});

describe("what ends", () => {
  test("pending circuits end soon, live ones after the life of a session", () => {
    const world = makeWorld(2);
    const [a, b] = [world.node(1), world.node(2)];
    world.meet(a, b, [10, 20]);
    world.take(a, world.initiation(b.key, 11));
    world.nowMs += PENDING_MS;
    world.relay.due(world.nowMs);
    expect(world.take(b, world.response(21, 11))).toEqual({ drop: "unknown" });
    expect(world.circuits.size).toBe(2);
    world.nowMs += LIVE_MS - PENDING_MS - 1;
    world.relay.due(world.nowMs);
    world.drain();
    expect(world.circuits.size).toBe(2);
    world.nowMs += 1;
    world.relay.due(world.nowMs);
    world.drain();
    expect(world.circuits.size).toBe(0);
    expect(world.relay.counts.pairs).toBe(0);
  });

  test("a node without a session is nowhere; its circuits wait for it", () => {
    const world = makeWorld(2);
    const [a, b] = [world.node(1), world.node(2)];
    world.meet(a, b, [10, 20]);
    world.nowMs += 179_999;
    world.live(b);
    world.nowMs += 1;
    world.relay.due(world.nowMs);
    world.drain();
    expect([...world.places.keys()]).toEqual([2]);
    expect(world.circuits.size).toBe(2);
    world.live(a);
    expect([...world.places.keys()].sort()).toEqual([1, 2]);
  });

  test("a node that moves takes its circuits along", () => {
    const world = makeWorld(2);
    const [a, b] = [world.node(1), world.node(2)];
    world.meet(a, b, [10, 20]);
    const elsewhere = parseEndpoint("[2001:db8::7]:7");
    world.live(a, elsewhere);
    expect(world.relay.carries(elsewhere, 20)).toBe(true);
    expect(world.relay.carries(a.at, 20)).toBe(false);
    expect(world.take(a, world.cookie(20))).toBeUndefined();
    expect(world.take(elsewhere, world.cookie(20))).toEqual({ to: 2 });
  });

  test("a node that comes to where another one lives waits until that one goes", () => {
    const world = makeWorld(3);
    const [a, b, c] = [world.node(1), world.node(2), world.node(3)];
    world.live(c, a.at);
    expect(world.take(a, world.initiation(b.key, 10))).toEqual({ to: 2 });
    expect(world.places.has(3)).toBe(false);
    expect(world.take(b, world.initiation(c.key, 10))).toEqual({ drop: "absent" });
    world.live(a, parseEndpoint("192.0.2.200:200"));
    expect(world.places.get(3)).toBe(`${a.at.ip.value}:${a.at.port}`);
    expect(world.take(b, world.initiation(c.key, 10))).toEqual({ to: 3 });
  });

  test("a peer that is removed, a class that is taken or a permission that goes ends circuits at once", () => {
    const world = makeWorld(3);
    const [a, b, c] = [world.node(1), world.node(2), world.node(3)];
    const again = () => {
      world.nowMs += 20_000;
      for (const node of world.nodes) world.live(node);
      world.meet(a, b, [10, 20]);
      world.meet(a, c, [11, 21]);
      expect(world.circuits.size).toBe(4);
    };
    again();
    world.relay.peer(2, undefined, world.nowMs);
    world.drain();
    expect([...world.circuits.keys()].sort()).toEqual(["1 21", "3 11"]);
    expect(world.take(a, world.initiation(b.key, 12))).toEqual({ drop: "unknown" });
    world.relay.configure({ classes: new Map([[c.key.publicKey, "none"]]) });
    world.drain();
    expect(world.circuits.size).toBe(0);
    world.relay.configure({
      classes: new Map([[c.key.publicKey, 2]]),
      allow: [
        [2, 1],
        [1, 1],
      ],
    });
    again();
    world.relay.configure({ allow: [[1, 1]] });
    world.drain();
    expect([...world.circuits.keys()].sort()).toEqual(["1 20", "2 10"]);
    world.relay.configure({ enabled: false });
    world.drain();
    expect([world.circuits.size, world.places.size]).toEqual([0, 0]);
    expect(world.relay.counts).toEqual({ nodes: 0, liveNodes: 0, circuits: 0, pairs: 0 });
  });

  test("a configuration that cannot be changes nothing", () => {
    const world = makeWorld(2);
    world.meet(world.node(1), world.node(2), [10, 20]);
    for (const change of [
      { allow: [[1, 70_000] as const] },
      { bytesPerSecond: -1 },
      { classes: new Map([[world.node(1).key.publicKey, 1.5]]) },
    ])
      expect(() => world.relay.configure({ enabled: false, ...change })).toThrow(RangeError);
    expect(world.relay.config.enabled).toBe(true);
    expect(world.relay.counts.circuits).toBe(2);
  });
});

describe("the search among many", () => {
  test("goes on where its budget ended, and remembers whom it found", () => {
    const world = makeWorld(300);
    const [a, last] = [world.node(1), world.node(300)];
    const nobody = PrivateKey.random();
    // Uses up the budget of a, and nobody else's.
    let drops = 0;
    for (let i = 0; i < 4 * (SEARCH_HASH_BURST / 300); i++) {
      const verdict = world.take(a, world.initiation(nobody, i));
      if (verdict !== undefined && "drop" in verdict && verdict.drop === "budget") drops++;
    }
    expect(drops).toBeGreaterThan(100);
    expect(world.take(a, world.initiation(last.key, 1))).toEqual({ drop: "budget" });
    expect(world.take(world.node(2), world.initiation(last.key, 1))).toEqual({ to: 300 });
    // Five milliseconds are a hundred hashes: each try goes on behind the last one.
    const tries = [];
    for (let i = 0; i < 6; i++) {
      world.nowMs += 5;
      tries.push(world.take(a, world.initiation(last.key, 2 + i)));
    }
    expect(tries).toContainEqual({ to: 300 });
    // Found once it is tried first, at once.
    expect(world.take(a, world.initiation(last.key, 50))).toEqual({ to: 300 });
    expect(world.take(last, world.initiation(a.key, 50))).toEqual({ to: 1 });
  });
});

test("a node with many partners that is made anew is found by those that it had forgotten", () => {
  const world = makeWorld(MOST_RECENT + 3);
  const [a, b] = [world.node(1), world.node(2)];
  world.meet(a, b, [10, 20]);
  for (let number = 3; number <= MOST_RECENT + 3; number++)
    world.meet(a, world.node(number), [1000 + number, 3000 + number]);
  world.relay.peer(1, undefined, world.nowMs);
  const again = { ...a, number: 900 };
  world.live(again, a.at);
  expect(world.take(b, world.initiation(a.key, 50))).toEqual({ to: 900 });
});

test(`any messages from anywhere, in any order: no exception, never to the sender, and what is learnt stays bounded (seed ${seed})`, () => {
  const world = makeWorld(6, (number) => number % 2);
  const { random } = world;
  const heard: Uint8Array[] = [];
  for (let i = 0; i < 20_000; i++) {
    world.nowMs += random.below(50);
    if (random.chance(0.01)) world.relay.due(world.nowMs);
    const from = random.pick(world.nodes);
    if (random.chance(0.02)) world.live(from, random.chance(0.5) ? from.at : random.pick(world.nodes).at);
    const index = random.chance(0.9) ? random.below(64) : random.u32();
    let bytes = random.pick([
      () => world.initiation(random.pick(world.nodes).key, index),
      () => world.response(random.below(64), index),
      () => world.cookie(index),
      () => random.bytes(random.below(200)),
      () => (heard.length > 0 ? random.pick(heard) : random.bytes(4)),
    ])();
    if (random.chance(0.3)) bytes = random.mutate(bytes);
    if (heard.length < 200) heard.push(bytes);
    const verdict = world.relay.take({ datagram: bytes, from: from.at, nowMs: world.nowMs });
    world.drain();
    if (verdict === undefined || "drop" in verdict) continue;
    // Who sends from there is the one that lives there.
    const [sender] =
      [...world.places].find(([, place]) => place === `${from.at.ip.value}:${from.at.port}`) ?? [];
    expect(sender).toBeDefined();
    expect(verdict.to).not.toBe(sender as number);
    // Classes are odd and even.
    expect(verdict.to % 2).toBe((sender as number) % 2);
  }
  expect(world.relay.counts.circuits).toBe(world.circuits.size);
  expect(world.circuits.size).toBeLessThanOrEqual(6 * MOST_LIVE);
  for (const [key, to] of world.circuits) expect(Number(key.split(" ")[0]) % 2).toBe(to % 2);
  world.nowMs += 10 * LIVE_MS;
  world.relay.due(world.nowMs);
  world.drain();
  expect([world.circuits.size, world.places.size]).toEqual([0, 0]);
  expect(world.relay.counts).toEqual({ nodes: 6, liveNodes: 0, circuits: 0, pairs: 0 });
});
