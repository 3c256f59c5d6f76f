/** The same with the real WireGuard core in place of the model: fewer runs, for they seal and open every packet. */
import { expect, test } from "bun:test";
import { newSeed, Random } from "../support/random.ts";
import type { Weather } from "./internet.ts";
import { bestRung, settle, type Site } from "./sites.ts";
import { Identities, RealWireguard } from "./real-wireguard.ts";
import { SimWorld } from "./sim-world.ts";

const seed = newSeed(41);
const PAIRS: readonly (readonly [Site, Site])[] = [
  ["public", "symmetric"],
  ["port-restricted", "restricted"],
  ["symmetric", "double"],
  ["ipv6", "ipv6-firewalled"],
  ["blocked", "public"],
];

/** A network that loses some, and one that loses nothing. */
const LOSSY = { delayMs: 15, jitterMs: 5, loss: 0.005 };
const CALM = { delayMs: 15 };

type Traffic = "talk" | "ask";

function worldOf(
  sites: readonly [Site, Site],
  own: number,
  { weather, traffic }: { readonly weather: Weather; readonly traffic: Traffic },
): SimWorld {
  const random = new Random(own);
  const identities = new Identities(random);
  const world = new SimWorld(own, (host) => new RealWireguard(host, { identities, random }));
  world.addHub("hub1", { weather: { delayMs: 10 } });
  world.addHub("hub2", { weather: { delayMs: 30 } });
  sites.forEach((site, i) => settle(world, { name: `n${i}`, site, weather }));
  world.time.run(1_000);
  world[traffic]("n0", "n1", 200);
  world.time.run(30_000);
  world.worst();
  return world;
}

for (const [a, b] of PAIRS)
  test(`${a} and ${b}, seed ${seed}`, () => {
    const world = worldOf([a, b], seed, { weather: LOSSY, traffic: "talk" });
    const [n0, n1] = ["n0", "n1"].map((name) => world.nodes.get(name));
    const isDirect = bestRung(a, b) !== "relay";
    expect([n0?.rung("n1") !== "relay", n1?.rung("n0") !== "relay"]).toEqual([isDirect, isDirect]);
    // Through renewals of the session nothing is lost but what the network loses.
    world.time.run(200_000);
    expect(world.worst()).toBeLessThan(1_500);
    if (isDirect) {
      world.internet.cut("n0", "n1");
      world.internet.cut("n1", "n0");
    } else world.hubs[0]?.kill();
    world.time.run(15_000);
    const mostMs = isDirect ? 5_000 : 3_000;
    expect(world.worst()).toBeLessThan(mostMs);
    // All but what one such silence of the 15 s costs.
    for (const { heard, sent } of world.flows) expect(heard / sent).toBeGreaterThan(1 - mostMs / 15_000);
  });

for (const [a, b] of PAIRS)
  test(`${a} and ${b}: the data plane of the one that only answers is killed, seed ${seed}`, () => {
    const world = worldOf([a, b], seed, { weather: CALM, traffic: "ask" });
    world.nodes.get("n1")?.killDataplane(300);
    world.time.run(300);
    world.worst();
    world.time.run(20_000);
    // Until the agent reads the device again, a handshake, and one packet.
    expect(world.worst()).toBeLessThan(1_800);
  });
