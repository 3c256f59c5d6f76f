import { describe, expect, test } from "bun:test";
import {
  answersWanted,
  firstUplink,
  stepUplink,
  type TlsMode,
  type UplinkEffect,
  type UplinkEvent,
  type UplinkState,
} from "./uplink.ts";

/** A network and a hub around the machine, in steps of 250 ms. */
class World {
  nowMs = 0;
  udp = true;
  tls = true;
  /** What the peers use. */
  way: "udp" | "tls" = "udp";
  wanted = false;
  probes = 0;
  readonly moves: string[] = [];
  state: UplinkState;
  readonly #mode: TlsMode;

  constructor(mode: TlsMode = "auto", tlsOpen = false) {
    this.#mode = mode;
    const first = firstUplink(mode, { nowMs: 0, tlsOpen });
    this.state = first.state;
    this.#do(first.effects);
  }

  tell(kind: UplinkEvent["kind"]): void {
    const { state, effects } = stepUplink(this.state, { kind }, { mode: this.#mode, nowMs: this.nowMs });
    this.state = state;
    this.#do(effects);
  }

  #do(effects: readonly UplinkEffect[]): void {
    for (const effect of effects) {
      if (effect === "open-tls") this.wanted = true;
      if (effect === "close-tls") this.wanted = false;
      if (effect === "use-tls") this.#use("tls");
      if (effect === "use-udp") this.#use("udp");
      if (effect === "probe-udp") this.#probe();
    }
  }

  #use(way: "udp" | "tls"): void {
    expect(way).not.toBe(this.way);
    this.way = way;
    this.moves.push(`${way}@${this.nowMs / 1000}`);
  }

  #probe(): void {
    this.probes++;
    this.tell("asked");
    if (this.udp) this.tell("answered");
  }

  /** On UDP the ladder probes its hubs once a second. */
  run(seconds: number): void {
    for (const endMs = this.nowMs + seconds * 1000; this.nowMs < endMs; this.nowMs += 250) {
      if (this.way === "udp" && this.nowMs % 1000 === 0) this.#probe();
      const open = this.wanted && this.tls;
      if (open && !this.state.tlsOpen) this.tell("tls-opened");
      if (!open && this.state.tlsOpen) this.tell("tls-lost");
      this.tell("tick");
    }
  }
}

describe("UDP or TLS", () => {
  test("where UDP works nothing happens", () => {
    const world = new World();
    world.run(3600);
    expect([world.moves, world.wanted]).toEqual([[], false]);
  });

  test("a node that asks nothing concludes nothing", () => {
    const world = new World();
    for (let i = 0; i < 1000; i++) {
      world.nowMs += 1000;
      world.tell("tick");
    }
    expect([world.state.kind, world.wanted]).toEqual(["udp", false]);
  });

  test("blocked from the start: TLS within seconds, and it stays; the probes get rare", () => {
    const world = new World();
    world.udp = false;
    world.run(3600);
    expect(world.moves).toEqual(["tls@5"]);
    expect(world.probes).toBeLessThan(60);
  });

  test("a few lost probes are no blocked UDP", () => {
    const world = new World();
    for (let i = 0; i < 200; i++) {
      world.udp = i % 5 === 4;
      world.run(1);
    }
    expect(world.moves).toEqual([]);
  });

  test("UDP comes back: it is used after several answers, TLS is kept for a while and then closed", () => {
    const world = new World();
    world.udp = false;
    world.run(60);
    world.udp = true;
    world.run(40);
    expect([world.way, world.wanted, world.state.kind]).toEqual(["udp", true, "returning"]);
    world.run(60);
    expect([world.way, world.wanted, world.state.kind]).toEqual(["udp", false, "udp"]);
    expect(world.moves).toHaveLength(2);
  });

  test("UDP that does not last: back on TLS at once, and each return is harder", () => {
    const world = new World();
    world.udp = false;
    const stays: number[] = [];
    for (let round = 0; round < 4; round++) {
      world.run(300);
      expect(world.way).toBe("tls");
      world.udp = true;
      const beganMs = world.nowMs;
      while (world.way === "tls") world.run(1);
      stays.push(world.nowMs - beganMs);
      world.udp = false;
    }
    expect(world.state.relapses).toBe(3);
    expect([0, 1, 2, 3, 9].map(answersWanted)).toEqual([3, 6, 12, 24, 24]);
    // It worked for 10 minutes: forgotten.
    world.udp = true;
    world.run(700);
    expect([world.way, world.state.relapses]).toEqual(["udp", 0]);
  });

  test("both are blocked: it waits, and takes what comes first", () => {
    for (const first of ["udp", "tls"] as const) {
      const world = new World();
      world.udp = false;
      world.tls = false;
      world.run(600);
      expect([world.state.kind, world.wanted]).toEqual(["opening", true]);
      world[first] = true;
      world.run(5);
      expect(world.way).toBe(first);
    }
  });

  test("TLS is lost while UDP works again: one answer is enough", () => {
    const world = new World();
    world.udp = false;
    world.run(1000);
    world.udp = true;
    world.tls = false;
    world.run(2);
    expect(world.way).toBe("udp");
  });

  test("an agent that starts again and finds TLS open goes on with it, and comes back as any other", () => {
    const world = new World("auto", true);
    expect([world.way, world.wanted]).toEqual(["tls", true]);
    world.udp = false;
    world.run(300);
    expect(world.moves).toHaveLength(1);
    world.udp = true;
    world.run(200);
    expect([world.way, world.wanted]).toEqual(["udp", false]);
  });

  test("silence of a network that was left does not count", () => {
    const world = new World();
    world.udp = false;
    for (let i = 0; i < 10; i++) {
      world.run(4);
      world.tell("moved");
    }
    expect(world.way).toBe("udp");
    world.run(6);
    expect(world.way).toBe("tls");
  });

  test("another network is looked at without delay", () => {
    const world = new World();
    world.udp = false;
    world.run(1000);
    const { probes } = world;
    world.udp = true;
    world.tell("moved");
    expect(world.probes).toBe(probes + 1);
    world.run(5);
    expect(world.way).toBe("udp");
  });

  test("always: TLS from the start, whatever UDP says; never: nothing", () => {
    const always = new World("always");
    always.run(100);
    expect([always.moves, always.wanted, always.probes]).toEqual([["tls@0"], true, 1]);
    const never = new World("never");
    never.udp = false;
    never.run(100);
    expect([never.moves, never.wanted]).toEqual([[], false]);
  });

  test("a network that changes at random: peers are always on a way that worked lately, or none did", () => {
    for (let seed = 1; seed <= 30; seed++) {
      let random = seed;
      const next = () => (random = (random * 48271) % 2147483647) / 2147483647;
      const world = new World();
      let badMs = 0;
      for (let i = 0; i < 400; i++) {
        if (next() < 0.02) world.udp = !world.udp;
        if (next() < 0.02) world.tls = !world.tls;
        world.run(5);
        const works = world[world.way];
        const other = world[world.way === "udp" ? "tls" : "udp"];
        badMs = works || !other ? 0 : badMs + 5000;
        // On TLS that is gone UDP is asked every second; on UDP silence lasts 5 s and TLS has to open.
        expect(badMs).toBeLessThanOrEqual(10_000);
      }
    }
  });
});
