import { describe, expect, test } from "bun:test";
import type { Pong } from "../mesh/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import { Generations } from "./generations.ts";
import { type HubPing, HubPaths } from "./hub-paths.ts";

const AT = parseEndpoint("192.0.2.1:51820");
const SEEN = parseEndpoint("203.0.113.7:4000");
const hub = { name: "hub", endpoints: ["hub"], hub: true, hubs: [] } as unknown as Node;

/** One hub, and what was asked of the rest. */
class Scene {
  readonly pings: HubPing[] = [];
  readonly said: string[] = [];
  nowMs = 0;
  readonly paths: HubPaths;

  constructor(generations = new Generations()) {
    this.paths = new HubPaths({
      hooks: {
        asked: () => {},
        answered: () => void this.said.push("answered"),
        distances: () => {},
        greetHubs: () => void this.said.push("greet"),
      },
      generations,
      send: (_, ping) => void this.pings.push(ping),
      changed: () => {},
      moved: () => void this.said.push("moved"),
      used: () => {},
      wake: () => {},
    });
    const resolved = new Map([["hub", [AT]]]);
    this.paths.follow([hub], { resolved, fallback: [], linkMtuBytes: 1500, nowMs: 0 });
  }

  pong(ping: HubPing, instance = 1, seen = SEEN): Pong {
    const { transaction, sizeBytes } = ping;
    return { kind: "pong", transaction, chosen: false, sizeBytes, seen, instance };
  }

  take(pong: Pong, from = "hub"): string[] {
    this.said.length = 0;
    this.nowMs += 10;
    this.paths.pong(from, pong, { from: AT, nowMs: this.nowMs });
    return this.said;
  }

  get generation(): number | undefined {
    return this.paths.path("hub", { seen: undefined, distance: "own" }).generation;
  }
}

describe("answers of a hub", () => {
  test("count once: what is played back does not say that UDP works, nor that the hub lost its sessions", () => {
    const scene = new Scene();
    const first = scene.pong(scene.pings[0] as HubPing);
    expect(scene.take(first)).toEqual(["answered"]);
    expect(scene.take(first)).toEqual([]);
    scene.pings.length = 0;
    scene.paths.step({ kind: "network", nowMs: 1_000 });
    const second = scene.pong(scene.pings[0] as HubPing, 2);
    expect([scene.take(second), scene.generation]).toEqual([["answered"], 1]);
    // The first answer names the life before.
    for (let i = 0; i < 5; i++) expect(scene.take(first)).toEqual([]);
    expect([scene.take(second), scene.generation]).toEqual([[], 1]);
  });

  test("to probes that were asked for by UDP count too, once", () => {
    const scene = new Scene();
    scene.pings.length = 0;
    scene.paths.probe();
    const pong = scene.pong(scene.pings[0] as HubPing);
    // Transactions are numbered in a row: another hub could guess them.
    expect(scene.take(pong, "other")).toEqual([]);
    expect([scene.take(pong).length, scene.take(pong).length]).toEqual([1, 0]);
    // Only the last few are awaited.
    for (let i = 0; i < 20; i++) scene.paths.probe();
    expect(scene.take(scene.pong(scene.pings[1] as HubPing))).toEqual([]);
    expect(scene.take(scene.pong(scene.pings.at(-1) as HubPing))).toEqual(["answered"]);
  });

  test("from which this node learns that it is seen elsewhere: hubs are greeted first", () => {
    const scene = new Scene();
    scene.take(scene.pong(scene.pings[0] as HubPing));
    scene.pings.length = 0;
    scene.paths.step({ kind: "network", nowMs: 1_000 });
    const elsewhere = scene.pong(scene.pings[0] as HubPing, 1, { ...SEEN, port: 4001 });
    expect(scene.take(elsewhere)).toEqual(["greet", "moved", "answered"]);
  });
});

test("another life goes on counting where the one before ended, since the engine remembers what it applied", () => {
  const generations = new Generations();
  const scene = new Scene(generations);
  scene.take(scene.pong(scene.pings[0] as HubPing));
  scene.paths.step({ kind: "network", nowMs: 1_000 });
  scene.take(scene.pong(scene.pings.at(-1) as HubPing, 2));
  expect(scene.generation).toBe(1);
  scene.paths.end();
  expect(new Scene(generations).generation).toBe(1);
});
