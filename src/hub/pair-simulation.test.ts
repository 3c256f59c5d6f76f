/**
 * Two nodes, a hub and a network with loss, in virtual time: the path machines, the arbiter and a model of WireGuard together.
 * Whatever happens, the two ends agree on the path but for the time that a message takes, and use the direct way only where it works.
 */
import { describe, expect, test } from "bun:test";
import { type ArbiterEvent, type ArbiterState, arbiterFrom, stepArbiter } from "./arbiter.ts";
import { type Endpoint, parseEndpoint } from "../net/mod.ts";
import { type PathEffect, type PathState, pathUse, startPath, stepPath } from "../mesh/mod.ts";

const PUBLIC = { a: parseEndpoint("192.0.2.1:1"), b: parseEndpoint("198.51.100.2:2") };
const WRONG = parseEndpoint("203.0.113.9:9");
type Side = "a" | "b";
const other = (side: Side): Side => (side === "a" ? "b" : "a");

interface World {
  readonly loss: number;
  /** Whether packets that `from` sends arrive. */
  arrives(from: Side, nowMs: number): boolean;
  /** Whether the side's endpoint works for somebody who calls first. */
  callable(side: Side): boolean;
}

class Simulation {
  nowMs = 0;
  readonly paths = {} as Record<Side, PathState>;
  readonly direct: Record<Side, boolean> = { a: false, b: false };
  readonly changes: Record<Side, number> = { a: 0, b: 0 };
  readonly #wg = {
    a: { rx: 0, handshakeMs: undefined as number | undefined, roamed: undefined as Endpoint | undefined },
    b: { rx: 0, handshakeMs: undefined as number | undefined, roamed: undefined as Endpoint | undefined },
  };
  #arbiter: ArbiterState = arbiterFrom([]);
  readonly #messages: { at: number; deliver: () => void }[] = [];
  readonly #sequence: Record<Side, number> = { a: 0, b: 0 };
  readonly #session: Record<Side, string> = { a: "a0", b: "b0" };
  #seed: number;
  disagreementMs = 0;
  hubUp = true;

  readonly world: World;

  constructor(world: World, seed: number) {
    this.world = world;
    this.#seed = seed;
    for (const side of ["a", "b"] as const) {
      this.#hub({ kind: "hello", node: side, session: this.#session[side], reports: [] });
      this.start(side);
    }
  }

  start(side: Side): void {
    const [state, effects] = startPath({ nowMs: this.nowMs, candidates: [WRONG, PUBLIC[other(side)]] });
    this.paths[side] = state;
    this.#carryOut(side, effects);
  }

  restart(side: Side): void {
    this.#session[side] += "+";
    this.#sequence[side] = 0;
    const session = this.#session[side];
    this.#later(() => this.#hub({ kind: "hello", node: side, session, reports: [] }));
    this.start(side);
  }

  #random(): number {
    this.#seed = (Math.imul(this.#seed, 1103515245) + 12345) & 0x7fffffff;
    return this.#seed / 0x7fffffff;
  }

  #later(deliver: () => void): void {
    this.#messages.push({ at: this.nowMs + 20 + this.#random() * 200, deliver });
  }

  #hub(event: ArbiterEvent): void {
    const [state, effects] = stepArbiter(this.#arbiter, event);
    this.#arbiter = state;
    for (const effect of effects) {
      if (effect.kind !== "publish") continue;
      const { path, generation } = effect.pair;
      for (const side of ["a", "b"] as const)
        this.#later(() => {
          // Deltas of one connection are ordered; the model of `later` is not.
          if (generation < this.#seen[side]) return;
          this.#seen[side] = generation;
          if (this.direct[side] !== (path === "direct")) this.changes[side]++;
          this.direct[side] = path === "direct";
        });
    }
  }
  readonly #seen: Record<Side, number> = { a: 0, b: 0 };

  #carryOut(side: Side, effects: readonly PathEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === "report") {
        const report = { peer: other(side), up: effect.up, sequence: this.#sequence[side]++ };
        const session = this.#session[side];
        this.#later(() => this.#hub({ kind: "report", node: side, session, report }));
      }
      if (effect.kind === "invite")
        this.#later(() => this.#path(other(side), { kind: "invited", nowMs: this.nowMs }));
    }
  }

  #path(side: Side, event: Parameters<typeof stepPath>[1]): void {
    const [state, effects] = stepPath(this.paths[side], event);
    this.paths[side] = state;
    this.#carryOut(side, effects);
  }

  #delivers(from: Side): boolean {
    return this.world.arrives(from, this.nowMs) && this.#random() >= this.world.loss;
  }

  /** One keepalive interval of WireGuard at one side. */
  #transmit(side: Side): void {
    const use = pathUse(this.paths[side]);
    if (use.keepaliveSeconds === undefined) return;
    const [mine, theirs] = [this.#wg[side], this.#wg[other(side)]];
    const target = mine.roamed ?? use.endpoint;
    if (target === undefined || target === WRONG) return;
    if (mine.roamed === undefined && !this.world.callable(other(side))) return;
    const fresh = (peer: typeof mine) =>
      peer.handshakeMs !== undefined && this.nowMs - peer.handshakeMs < 120_000;
    if (!this.#delivers(side)) return;
    theirs.rx += 32;
    if (fresh(mine) && fresh(theirs)) {
      theirs.roamed = PUBLIC[side];
      return;
    }
    if (!this.#delivers(other(side))) return;
    mine.rx += 92;
    mine.handshakeMs = theirs.handshakeMs = this.nowMs;
    theirs.roamed = PUBLIC[side];
  }

  run(seconds: number): void {
    for (let i = 0; i < seconds * 10; i++) {
      this.nowMs += 100;
      for (const message of this.#messages.filter((one) => one.at <= this.nowMs)) {
        this.#messages.splice(this.#messages.indexOf(message), 1);
        if (this.hubUp) message.deliver();
      }
      if (this.direct.a !== this.direct.b) this.disagreementMs += 100;
      for (const side of ["a", "b"] as const) {
        const offset = side === "a" ? 0 : 2_300;
        if ((this.nowMs + offset) % 5_000 === 0) this.#transmit(side);
        if (this.nowMs % 1000 !== 0) continue;
        const { rx, handshakeMs } = this.#wg[side];
        const age = handshakeMs === undefined ? {} : { handshakeAgeMs: this.nowMs - handshakeMs };
        this.#path(side, { kind: "observed", nowMs: this.nowMs, rxBytes: rx, ...age });
        // Setting another endpoint overrides what was learned.
        const use = pathUse(this.paths[side]);
        if (this.paths[side].phase.kind === "trying" && use.endpoint !== undefined)
          this.#wg[side].roamed = undefined;
      }
    }
  }
}

const open: World = { loss: 0, arrives: () => true, callable: () => true };

describe("two nodes and a hub", () => {
  for (const loss of [0, 0.05])
    test(`become direct with ${loss * 100} % loss, and stay so`, () => {
      for (let seed = 1; seed <= 20; seed++) {
        const simulation = new Simulation({ ...open, loss }, seed);
        simulation.run(120);
        expect({ seed, direct: simulation.direct }).toEqual({ seed, direct: { a: true, b: true } });
        simulation.run(1800);
        expect({ seed, direct: simulation.direct }).toEqual({ seed, direct: { a: true, b: true } });
        expect(simulation.changes.a).toBeLessThanOrEqual(loss === 0 ? 1 : 3);
      }
    });

  test("with 20 % loss keepalives are lost three in a row now and then: the ends still agree, and are direct most of the time", () => {
    let directMs = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const simulation = new Simulation({ ...open, loss: 0.2 }, seed);
      for (let second = 0; second < 1800; second++) {
        simulation.run(1);
        if (simulation.direct.a && simulation.direct.b) directMs += 1000;
      }
      expect(simulation.disagreementMs).toBeLessThanOrEqual(simulation.changes.a * 300);
    }
    expect(directMs / (20 * 1_800_000)).toBeGreaterThan(0.8);
  });

  test("one callable side is enough: the other calls", () => {
    for (const side of ["a", "b"] as const) {
      const simulation = new Simulation({ ...open, callable: (s) => s === side }, 5);
      simulation.run(60);
      expect(simulation.direct).toEqual({ a: true, b: true });
    }
  });

  test("nobody callable: through the hub, for ever, without flapping", () => {
    const simulation = new Simulation({ ...open, callable: () => false }, 5);
    simulation.run(3600);
    expect(simulation.direct).toEqual({ a: false, b: false });
    expect(simulation.changes).toEqual({ a: 0, b: 0 });
  });

  test("a way that works in one direction only is never used", () => {
    for (const deaf of ["a", "b"] as const) {
      const simulation = new Simulation({ ...open, arrives: (from) => from !== deaf }, 3);
      simulation.run(1200);
      expect(simulation.changes).toEqual({ a: 0, b: 0 });
    }
  });

  test("a cut, in one or both directions, moves both to the hub within 25 s, and back when it is mended", () => {
    for (const cut of [["a"], ["b"], ["a", "b"]] as Side[][]) {
      let broken = false;
      const simulation = new Simulation({ ...open, arrives: (from) => !broken || !cut.includes(from) }, 9);
      simulation.run(60);
      expect(simulation.direct).toEqual({ a: true, b: true });
      broken = true;
      simulation.run(25);
      expect({ cut, direct: simulation.direct }).toEqual({ cut, direct: { a: false, b: false } });
      broken = false;
      simulation.run(200);
      expect({ cut, direct: simulation.direct }).toEqual({ cut, direct: { a: true, b: true } });
      expect(simulation.disagreementMs).toBeLessThan(1000);
    }
  });

  test("a restarted agent does not move a pair that works", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const simulation = new Simulation(open, seed);
      simulation.run(60);
      const before = { ...simulation.changes };
      simulation.restart("a");
      simulation.run(120);
      expect(simulation.direct).toEqual({ a: true, b: true });
      expect(simulation.changes).toEqual(before);
    }
  });

  test("while the hub is away nothing moves", () => {
    const simulation = new Simulation(open, 4);
    simulation.run(60);
    simulation.hubUp = false;
    simulation.run(300);
    expect(simulation.direct).toEqual({ a: true, b: true });
  });
});
