/** Every pair of places, in several kinds of weather: both ends come to the best rung that is possible, and nobody waits for it. */
import { describe, expect, test } from "bun:test";
import { newSeed } from "../support/random.ts";
import type { Weather } from "./internet.ts";
import { RUNGS, type Rung } from "../../src/mesh/mod.ts";
import { bestRung, settle, type Site, SITES } from "./sites.ts";
import { SimWorld } from "./sim-world.ts";

const seed = newSeed(41);
/** One round is all pairs in calm weather, and some of them in the others. */
const ROUNDS = Number(process.env["SIM_ROUNDS"] ?? 1);

const WEATHERS: Readonly<Record<string, Weather & { readonly withinMs: number; readonly oneIn: number }>> = {
  calm: { delayMs: 15, withinMs: 15_000, oneIn: 1 },
  rough: { delayMs: 40, jitterMs: 60, loss: 0.01, withinMs: 40_000, oneIn: 3 },
  stormy: { delayMs: 60, jitterMs: 100, loss: 0.05, withinMs: 180_000, oneIn: 9 },
};

/** run returns the better of both ends' rungs. */
function run(
  world: SimWorld,
  sites: readonly [Site, Site],
  weather: Weather & { readonly withinMs: number },
): string {
  world.addHub("hub1", { weather: { delayMs: 10 } });
  world.addHub("hub2", { weather: { delayMs: 30 } });
  const nodes = sites.map((site, i) => settle(world, { name: `n${i}`, site, weather }));
  world.time.run(1_000);
  world.talk("n0", "n1", 200);
  world.time.run(weather.withinMs);
  const rungs = [nodes[0]?.rung("n1"), nodes[1]?.rung("n0")] as Rung[];
  if (rungs.includes("relay") !== rungs.every((rung) => rung === "relay")) return `disagree: ${rungs.join()}`;
  return rungs.sort((a, b) => RUNGS.indexOf(a) - RUNGS.indexOf(b))[0] as string;
}

for (const [name, weather] of Object.entries(WEATHERS))
  describe(`${name} weather, seed ${seed}`, () => {
    for (const a of SITES)
      test(a, () => {
        for (const b of SITES)
          for (let round = 0; round < ROUNDS; round++) {
            if ((SITES.indexOf(a) + SITES.indexOf(b) + round + seed) % weather.oneIn !== 0) continue;
            const world = new SimWorld(seed + round);
            const found = run(world, [a, b], weather);
            expect(`${a} ${b}: ${found}`).toBe(`${a} ${b}: ${bestRung(a, b)}`);
            for (const flow of world.flows) expect(flow.heard).toBeGreaterThan(0);
          }
      });
  });
