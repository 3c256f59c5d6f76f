/** What fits through each path is found by probing, directly and through a hub, and followed when the path changes. */
import { expect, test } from "bun:test";
import { newSeed } from "../support/random.ts";
import { ladderMtu } from "../../src/mesh/mod.ts";
import { settle, type Site } from "./sites.ts";
import { SimWorld } from "./sim-world.ts";

const seed = newSeed(41);

function worldOf(sites: readonly (readonly [Site, number])[]): SimWorld {
  const world = new SimWorld(seed);
  world.addHub("hub1", { weather: { delayMs: 10 } });
  sites.forEach(([site, mtuBytes], i) =>
    settle(world, { name: `n${i}`, site, weather: { delayMs: 15, mtuBytes } }),
  );
  world.time.run(1_000);
  world.talk("n0", "n1", 200);
  world.time.run(40_000);
  return world;
}

const found = (world: SimWorld) =>
  ["n0", "n1"].map((name) => {
    const pair = world.nodes.get(name)?.pairs.get(name === "n0" ? "n1" : "n0");
    return pair && ladderMtu(pair.state);
  });

const both = (pathBytes: number, tunnelBytes: number) => [
  { pathBytes, tunnelBytes },
  { pathBytes, tunnelBytes },
];

test(`direct over IPv4 and IPv6, seed ${seed}`, () => {
  expect(
    found(
      worldOf([
        ["public", 1500],
        ["port-restricted", 1492],
      ]),
    ),
  ).toEqual(both(1492, 1432));
  expect(
    found(
      worldOf([
        ["ipv6", 1500],
        ["ipv6-firewalled", 1480],
      ]),
    ),
  ).toEqual(both(1480, 1400));
});

test(`through a hub: the smaller half counts, as each publishes its own, seed ${seed}`, () => {
  expect(
    found(
      worldOf([
        ["symmetric", 1420],
        ["port-restricted", 1500],
      ]),
    ),
  ).toEqual(both(1420, 1360));
});

test(`a path that changes, seed ${seed}`, () => {
  const world = worldOf([
    ["public", 1500],
    ["public", 1400],
  ]);
  expect(found(world)).toEqual(both(1400, 1340));
  world.internet.cut("n0", "n1");
  world.internet.cut("n1", "n0");
  world.time.run(20_000);
  // The same access, by way of the hub.
  expect(found(world)).toEqual(both(1400, 1340));
});

test(`a black hole appears while the pair talks, seed ${seed}`, () => {
  const world = worldOf([
    ["public", 1500],
    ["public", 1500],
  ]);
  expect(found(world)).toEqual(both(1500, 1440));
  world.throttle("n1", 1420);
  world.time.run(60_000);
  expect(found(world)).toEqual(both(1420, 1360));
});
