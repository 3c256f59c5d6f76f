/** A node that changes its key goes on with what the relay has learnt of it; nobody else does. */
import { describe, expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { RelayWorld } from "../../../test/support/relay-world.ts";
import type { PublicKey } from "../../net/mod.ts";
import { PrivateKey } from "../../net/mod.ts";
import { changedConfig, changeTo } from "./policy.ts";
import { decodeRelay, encodeRelay } from "./relay-text.ts";

const seed = newSeed();

/** Nodes 1 and 2 talk; node 4 is what node 1 becomes, node 3 is a stranger of their class. */
function makeWorld() {
  const world = new RelayWorld(4, { seed });
  const [one, two, three, four] = [1, 2, 3, 4].map((number) => world.node(number)) as [
    ReturnType<RelayWorld["node"]>,
    ReturnType<RelayWorld["node"]>,
    ReturnType<RelayWorld["node"]>,
    ReturnType<RelayWorld["node"]>,
  ];
  const successors = new Map<PublicKey, PublicKey>([[four.key.publicKey, one.key.publicKey]]);
  world.relay.configure({ successors });
  world.relay.peer(4, undefined, world.nowMs);
  world.live(one, one.at, { provenMs: world.nowMs });
  world.meet(one, two, [10, 20]);
  /** A node's handshake with the hub, from where node 1 is. */
  const takesPlaceOfOne = (node: typeof one) => {
    world.nowMs += 1_000;
    world.live(node, one.at, { provenMs: world.nowMs });
  };
  return { world, one, two, three, four, takesPlaceOfOne };
}

describe("a node with its next key", () => {
  test("goes on with its sessions as soon as it was heard: also with a handshake that is under way", () => {
    const { world, one, two, four, takesPlaceOfOne } = makeWorld();
    // Begun with the next key, before the hub heard that.
    expect(world.take(one, world.initiation(two.key, 11))).toEqual({ to: 2 });
    takesPlaceOfOne(four);
    expect([...world.circuits].sort()).toEqual([
      ["2 10", 4],
      ["4 20", 2],
    ]);
    expect([world.relay.carries(one.at, 20), world.relay.carries(two.at, 10)]).toEqual([true, true]);
    expect(world.take(two, world.response(21, 11))).toEqual({ to: 4 });
    expect(world.relay.carries(one.at, 21)).toBe(true);
    // The register has the next key, and the other peer goes.
    world.relay.peer(1, undefined, world.nowMs);
    world.relay.configure({ successors: new Map(), classes: new Map([[one.key.publicKey, "none"]]) });
    world.drain();
    expect([20, 21].map((index) => world.relay.carries(one.at, index))).toEqual([true, true]);
    expect(world.relay.counts).toMatchObject({ circuits: 4, pairs: 1 });
  });

  test("goes on with them too when the other one is removed first", () => {
    const { world, one, two, four } = makeWorld();
    world.live(one, one.at, { provenMs: world.nowMs });
    world.live(four, one.at, { provenMs: world.nowMs - 1 });
    expect(world.circuits.get("1 20")).toBe(2);
    world.relay.peer(1, undefined, world.nowMs);
    world.drain();
    expect([world.relay.carries(one.at, 20), world.relay.carries(two.at, 10)]).toEqual([true, true]);
  });

  test("a stranger that comes to the same place gets nothing of it", () => {
    const { world, one, three, takesPlaceOfOne } = makeWorld();
    takesPlaceOfOne(three);
    expect(world.relay.carries(one.at, 20)).toBe(false);
    expect([...world.circuits.values()]).not.toContain(3);
  });
});

test("who succeeds whom is told as text, replaced as a whole, and forgotten with the classes", () => {
  const [a, b, c] = [0, 1, 2].map(() => PrivateKey.random().publicKey) as [PublicKey, PublicKey, PublicKey];
  const before = { enabled: true, classes: new Map([[a, 1]]), successors: new Map([[b, a]]) };
  const after = { enabled: true, classes: new Map([[a, 1]]), successors: new Map([[c, b]]) };
  const plain = { enabled: true, classes: new Map([[a, 1]]) };
  for (const [from, to] of [
    [before, after],
    [before, plain],
    [plain, after],
  ] as const) {
    const { change = {} } = decodeRelay(encodeRelay(changeTo(to, from)));
    expect(changedConfig(from, change)).toEqual(to);
    const { change: whole = {} } = decodeRelay(encodeRelay(changeTo(to, undefined)));
    expect(changedConfig(from, whole)).toEqual(to);
  }
  // A process of an older build does not know the word.
  expect(encodeRelay(changeTo(plain, undefined))).not.toContain("successor");
  for (const bad of ["1", "x y", `${"0".repeat(64)}`])
    expect(() => decodeRelay(`set=1\nrelay_successor=${bad}\n\n`)).toThrow();
});
