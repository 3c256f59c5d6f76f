/** Neighbours: on one LAN, and behind one provider's NAT. */
import { expect, test } from "bun:test";
import { newSeed } from "../support/random.ts";
import { parseIp } from "../../src/net/mod.ts";
import type { NatBehaviour } from "./nat-box.ts";
import { SimHost } from "./sim-host.ts";
import { SimWorld } from "./sim-world.ts";

const seed = newSeed(41);
const weather = { delayMs: 15 };
const near = { delayMs: 1 };
const cone = (hairpin: boolean): NatBehaviour => ({
  mapping: "independent",
  filtering: "port",
  timeoutMs: 60_000,
  hairpin,
});

function hubbed(): SimWorld {
  const world = new SimWorld(seed);
  world.addHub("hub1", { weather: { delayMs: 10 } });
  return world;
}

function rungs(world: SimWorld): string[] {
  world.time.run(2_000);
  world.talk("n0", "n1", 200);
  world.time.run(20_000);
  return ["n0", "n1"].map((name) => world.nodes.get(name)?.rung(name === "n0" ? "n1" : "n0") as string);
}

for (const hairpin of [true, false])
  test(`one LAN, ${hairpin ? "with" : "without"} hairpin; both have 172.17.0.1 too, seed ${seed}`, () => {
    const world = hubbed();
    const lan = world.addLan("lan", { behaviour: cone(hairpin), weather });
    for (const i of [0, 1]) {
      const host = new SimHost(`n${i}`);
      host.plug(lan, parseIp(`192.168.5.${i + 7}`), near);
      // A bridge of containers, on which nobody else is.
      const bridge = world.addLan(`bridge${i}`, {
        behaviour: cone(false),
        weather: near,
        outside: lan,
        outerIp: parseIp(`192.168.5.${i + 107}`),
      });
      host.plug(bridge, parseIp("172.17.0.1"), near);
      world.addNode(host);
    }
    expect(rungs(world)).toEqual(["lan", "lan"]);
  });

for (const hairpin of [true, false])
  test(`two LANs behind one provider ${hairpin ? "that lets them meet" : "that does not"}, seed ${seed}`, () => {
    const world = hubbed();
    const provider = world.addLan("isp", { behaviour: cone(hairpin), weather });
    for (const i of [0, 1]) {
      const host = new SimHost(`n${i}`);
      const outerIp = parseIp(`100.64.0.${i + 7}`);
      const lan = world.addLan(`home${i}`, {
        behaviour: cone(false),
        weather: near,
        outside: provider,
        outerIp,
      });
      host.plug(lan, parseIp(`192.168.${i + 1}.7`), near);
      world.addNode(host);
    }
    expect(rungs(world)).toEqual(hairpin ? ["punched", "punched"] : ["relay", "relay"]);
  });

test(`two LANs of one number behind different boxes are not one, seed ${seed}`, () => {
  const world = hubbed();
  for (const i of [0, 1]) {
    const host = new SimHost(`n${i}`);
    const lan = world.addLan(`home${i}`, { behaviour: cone(false), weather });
    host.plug(lan, parseIp(`192.168.1.${i + 7}`), near);
    world.addNode(host);
  }
  expect(rungs(world)).toEqual(["punched", "punched"]);
});
