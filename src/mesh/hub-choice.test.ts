import { describe, expect, test } from "bun:test";
import { parseEndpoint } from "../net/mod.ts";
import { doubtsHub, hubChoiceDueMs, startHubChoice, stepHubChoice } from "./hub-choice.ts";
import { homeHub, hubDistances, publishedDistances, relaysFor } from "./hub-ranking.ts";
import type { HubChoice, HubChoiceEffect, HubChoiceEvent, KnownHub } from "./hub-state.ts";
import { WINDOW_MS } from "./least-rtt.ts";

const hub = (number: number): KnownHub => ({
  name: `h${number}`,
  endpoint: parseEndpoint(`192.0.2.${number}:51820`),
});
const OWN = parseEndpoint("203.0.113.7:4000");

/** Hubs with a round trip each, that answer while they are up. */
class Driver {
  state: HubChoice = startHubChoice({ seed: 7n });
  nowMs = 0;
  readonly rtt = new Map<string, number>();
  readonly instance = new Map<string, number>();
  seen = OWN;
  readonly said: string[] = [];
  pings = 0;
  bytes = 0;
  lose: () => boolean = () => false;
  /** Hubs through which something comes whenever it is looked. */
  hears: readonly string[] = [];
  #pongs: (HubChoiceEvent & { kind: "pong" })[] = [];

  constructor(rtts: readonly (number | undefined)[]) {
    rtts.forEach((ms, i) => {
      if (ms !== undefined) this.rtt.set(`h${i + 1}`, ms);
    });
    this.step({ kind: "hubs", nowMs: 0, hubs: rtts.map((_, i) => hub(i + 1)) });
  }

  step(event: HubChoiceEvent): void {
    const [state, effects] = stepHubChoice(this.state, event);
    this.state = state;
    for (const effect of effects) this.#take(effect);
  }

  #take(effect: HubChoiceEffect): void {
    if (effect.kind !== "ping") {
      this.said.push(effect.kind === "moved" ? `moved ${effect.seen.port}` : effect.kind);
      return;
    }
    this.pings++;
    this.bytes += effect.sizeBytes + 28 + 90;
    const rtt = this.rtt.get(effect.hub);
    if (rtt === undefined || this.lose()) return;
    const instance = this.instance.get(effect.hub);
    this.#pongs.push({
      kind: "pong",
      nowMs: this.nowMs + rtt,
      hub: effect.hub,
      transaction: effect.transaction,
      sizeBytes: effect.sizeBytes,
      seen: this.seen,
      ...(instance === undefined ? {} : { instance }),
    });
  }

  run(ms: number): void {
    const end = this.nowMs + ms;
    for (let steps = 0; ; steps++) {
      expect(steps).toBeLessThan(200_000);
      this.#pongs.sort((x, y) => x.nowMs - y.nowMs);
      const pong = this.#pongs[0];
      const due = hubChoiceDueMs(this.state, this.nowMs) ?? end;
      const at = Math.min(pong?.nowMs ?? end, due, end);
      if (at >= end) break;
      this.nowMs = at;
      if (pong !== undefined && pong.nowMs <= at) this.step(this.#pongs.shift() as HubChoiceEvent);
      else {
        if (doubtsHub(this.state, at)) this.step({ kind: "heard", nowMs: at, hubs: this.hears });
        this.step({ kind: "due", nowMs: at });
      }
    }
    this.nowMs = end;
  }

  relaying(...hubs: string[]): void {
    this.step({ kind: "relaying", nowMs: this.nowMs, hubs });
  }

  relays(peer?: Readonly<Record<string, number>>, current?: string): string {
    const distances = Object.entries(peer ?? {}).map(([name, rttMs]) => ({ hub: name, rttMs }));
    return relaysFor(this.state, {
      nowMs: this.nowMs,
      ...(peer === undefined ? {} : { peer: distances }),
      ...(current === undefined ? {} : { current }),
    })
      .map((relay) => relay.hub)
      .join(" ");
  }
}

describe("choice", () => {
  test("before anything is measured, the order is the register's; then the nearest", () => {
    const choice = new Driver([80, 20, 50]);
    expect(choice.relays()).toBe("h1 h2 h3");
    choice.run(5_000);
    expect(choice.relays()).toBe("h2 h3 h1");
    expect(homeHub(choice.state)?.name).toBe("h2");
    expect(hubDistances(choice.state)).toEqual([
      { hub: "h2", rttMs: 20, mtuBytes: 1500 },
      { hub: "h3", rttMs: 50, mtuBytes: 1500 },
      { hub: "h1", rttMs: 80, mtuBytes: 1500 },
    ]);
  });

  test("for a pair both distances count, and both ends choose the same", () => {
    const [a, b] = [new Driver([20, 60]), new Driver([90, 10])];
    for (const one of [a, b]) one.run(5_000);
    expect(a.relays({ h1: 90, h2: 10 })).toBe("h2 h1");
    expect(b.relays({ h1: 20, h2: 60 })).toBe("h2 h1");
  });

  test("only hubs that both reach, unless there is none", () => {
    const choice = new Driver([20, 60]);
    choice.run(5_000);
    expect(choice.relays({ h2: 10 })).toBe("h2");
    expect(choice.relays({ h9: 10 })).toBe("h1 h2");
    expect(choice.relays({})).toBe("h1 h2");
  });

  test("nothing is published before all hubs were tried, and what was stays while another is", () => {
    const published = () => publishedDistances(choice.state).map(({ hub: name }) => name);
    const choice = new Driver([20, 400, undefined]);
    choice.run(300);
    expect(hubDistances(choice.state).map(({ hub: name }) => name)).toEqual(["h1"]);
    expect(published()).toEqual([]);
    choice.run(700);
    expect(published()).toEqual([]);
    // The third does not answer, and is known to by now.
    choice.run(1_000);
    expect(published()).toEqual(["h1", "h2"]);
    choice.rtt.set("h4", 10);
    choice.step({ kind: "hubs", nowMs: choice.nowMs, hubs: [2, 3, 4].map(hub) });
    expect(published()).toEqual(["h2"]);
    choice.run(100);
    expect(published()).toEqual(["h4", "h2"]);
  });

  test("while the other end has not said which hubs it reaches, the current one stays", () => {
    const choice = new Driver([20, 90]);
    choice.run(5_000);
    expect(choice.relays(undefined, "h2")).toBe("h2 h1");
    choice.rtt.delete("h2");
    choice.relaying("h2");
    choice.run(3_000);
    expect(choice.relays(undefined, "h2")).toBe("h1");
  });

  test("another hub must be much better", () => {
    const choice = new Driver([40, 50]);
    choice.run(5_000);
    expect(choice.relays({ h1: 40, h2: 40 }, "h2")).toBe("h2 h1");
    expect(choice.relays({ h1: 10, h2: 60 }, "h2")).toBe("h1 h2");
  });

  test("jitter changes nothing that is published", () => {
    const choice = new Driver([40]);
    choice.run(5_000);
    choice.relaying("h1");
    choice.said.length = 0;
    for (let i = 0; i < 200; i++) {
      choice.rtt.set("h1", 35 + (i % 11));
      choice.run(200);
    }
    expect(choice.said).toEqual([]);
    choice.rtt.set("h1", 140);
    choice.run(20_000);
    expect(choice.said).toContain("changed");
    expect(hubDistances(choice.state)[0]?.rttMs).toBeGreaterThan(100);
  });
});

describe("a machine that has much else to do", () => {
  const OTHER = { h1: 10, h2: 10 };

  test("the hub that relays is not left because most answers come late", () => {
    const choice = new Driver([20, 30]);
    choice.run(5_000);
    choice.relaying("h1");
    for (let i = 0; i < 600; i++) {
      choice.rtt.set("h1", i % 25 === 0 ? 25 : 150);
      choice.run(200);
      expect(choice.relays(OTHER, "h1")).toBe("h1 h2");
    }
  });

  test("nor because all come late, as from all hubs", () => {
    const choice = new Driver([20, 30]);
    choice.run(70_000);
    choice.relaying("h1");
    choice.run(10_000);
    for (const both of [1, 5]) {
      choice.rtt.set("h1", 20 * both + 80).set("h2", 30 * both + 80);
      for (let i = 0; i < 300; i++) {
        choice.run(200);
        expect(choice.relays(OTHER, "h1")).toBe("h1 h2");
      }
    }
  });

  test("what is published does not follow each answer at rest", () => {
    const choice = new Driver([20, 60]);
    choice.run(5_000);
    const said = () => publishedDistances(choice.state).map(({ rttMs }) => rttMs);
    let changes = 0;
    for (let i = 0; i < 240; i++) {
      choice.rtt.set("h1", i % 2 === 0 ? 20 : 60).set("h2", i % 8 < 4 ? 60 : 120);
      const before = said().join();
      choice.run(15_000);
      if (said().join() !== before) changes++;
    }
    expect(changes).toBeLessThan(12);
  });

  test("when traffic is relayed it stays until a whole window is known", () => {
    const choice = new Driver([20, 60]);
    choice.run(5_000);
    const said = () => publishedDistances(choice.state).map(({ rttMs }) => rttMs);
    choice.rtt.set("h1", 200);
    choice.run(600_000);
    const before = said();
    expect(before[1]).toBeGreaterThan(100);
    choice.rtt.set("h1", 20);
    choice.relaying("h1");
    choice.run(WINDOW_MS - 1);
    expect(said()).toEqual(before);
    choice.run(1_000);
    expect(said()).toEqual([20, 60]);
    choice.relaying();
    choice.run(60_000);
    expect(said()).toEqual([20, 60]);
  });

  test("while this process stands still, no hub dies", () => {
    const diesAfter = (stoodMs: number) => {
      const choice = new Driver([20, 30]);
      choice.run(5_000);
      choice.relaying("h1");
      choice.run(1_010);
      choice.rtt.delete("h1");
      const sinceMs = choice.nowMs;
      choice.run(300);
      choice.nowMs += stoodMs;
      if (stoodMs > 0) choice.step({ kind: "stood", nowMs: choice.nowMs, forMs: stoodMs });
      while (choice.relays(OTHER, "h1") === "h1 h2") choice.run(10);
      return choice.nowMs - sinceMs;
    };
    const [ran, stood] = [diesAfter(0), diesAfter(2_000)];
    expect(ran).toBeLessThan(800);
    expect(Math.abs(stood - 2_000 - ran)).toBeLessThan(150);
  });
});

describe("a hub that dies", () => {
  for (const rtt of [5, 50, 150])
    test(`at ${rtt} ms, is found in less than ${rtt < 100 ? "0.8" : "1.1"} s where traffic is relayed`, () => {
      let worst = 0;
      for (let phase = 0; phase < 40; phase++) {
        const choice = new Driver([rtt, rtt + 10]);
        choice.run(5_000);
        choice.relaying("h1");
        choice.run(3_000 + phase * 5);
        const diedMs = choice.nowMs;
        choice.rtt.delete("h1");
        while (choice.relays(undefined, "h1").startsWith("h1")) choice.run(5);
        worst = Math.max(worst, choice.nowMs - diedMs);
        expect(choice.said.at(-1)).toBe("changed");
      }
      expect(worst).toBeLessThan(rtt < 100 ? 800 : 1_100);
    });

  for (const rtt of [1, 20, 45, 100, 200])
    test(`at ${rtt} ms, is found no later for what came before its death`, () => {
      const diesAfter = (heard: boolean) => {
        const choice = new Driver([rtt, rtt]);
        choice.run(5_000);
        choice.relaying("h1");
        choice.run(10_070.5);
        choice.rtt.delete("h1");
        const sinceMs = choice.nowMs;
        if (heard) choice.hears = ["h1"];
        while (choice.state.hubs[0]?.state === "up") {
          choice.run(1);
          if (choice.state.hubs[0]?.heardMs !== undefined) choice.hears = [];
        }
        return choice.nowMs - sinceMs;
      };
      expect(diesAfter(true)).toBe(diesAfter(false));
    });

  test("one that does not answer and relays is not held to be dead, until it relays no more, or for long", () => {
    for (const silentMs of [500, 3_000, 12_000]) {
      const choice = new Driver([20, 30]);
      choice.run(5_000);
      choice.relaying("h1");
      choice.run(3_000);
      choice.rtt.delete("h1");
      choice.hears = ["h1"];
      choice.run(silentMs);
      expect(choice.relays(undefined, "h1")).toBe(silentMs < 8_000 ? "h1 h2" : "h2");
      choice.hears = [];
      choice.run(600);
      expect(choice.relays(undefined, "h1")).toBe("h2");
    }
    // What came before it died is read after its death, once.
    const choice = new Driver([20, 30]);
    choice.run(5_000);
    choice.relaying("h1");
    choice.run(3_000);
    choice.rtt.delete("h1");
    choice.hears = ["h1"];
    while (!doubtsHub(choice.state, choice.nowMs)) choice.run(5);
    choice.run(5);
    choice.hears = [];
    choice.run(400);
    expect(choice.relays(undefined, "h1")).toBe("h2");
  });

  test("the only one is never left", () => {
    const choice = new Driver([30]);
    choice.run(5_000);
    choice.relaying("h1");
    choice.rtt.delete("h1");
    choice.run(60_000);
    expect(choice.state.hubs[0]?.state).toBe("down");
    expect(choice.relays({ h1: 20 }, "h1")).toBe("h1");
    expect(hubDistances(choice.state)).toEqual([]);
    choice.rtt.set("h1", 30);
    choice.run(20_000);
    expect(choice.state.hubs[0]?.state).toBe("up");
  });

  test("comes back behind those that were steady, longer each time", () => {
    const choice = new Driver([20, 90]);
    choice.run(5_000);
    const back: number[] = [];
    const both = { h1: 20, h2: 20 };
    for (let i = 0; i < 3; i++) {
      choice.relaying("h1");
      choice.rtt.delete("h1");
      choice.run(5_000);
      expect(choice.relays(both, "h1")).toBe("h2");
      choice.rtt.set("h1", 20);
      const upMs = choice.nowMs;
      while (choice.relays(both, "h2").startsWith("h2")) choice.run(500);
      back.push(Math.round((choice.nowMs - upMs) / 1000));
    }
    expect(back[0]).toBeGreaterThanOrEqual(10);
    expect(back[1]).toBeGreaterThanOrEqual(20);
    expect(back[2]).toBeGreaterThanOrEqual(40);
  });

  test("one or two lost pings do not matter", () => {
    const choice = new Driver([30, 40]);
    choice.run(5_000);
    choice.relaying("h1");
    choice.said.length = 0;
    let count = 0;
    choice.lose = () => ++count % 10 < 3;
    choice.run(60_000);
    expect(choice.said).toEqual([]);
  });
});

test("a hub that sees us elsewhere says so, and one that restarted too", () => {
  const choice = new Driver([30]);
  choice.instance.set("h1", 1);
  choice.run(5_000);
  choice.relaying("h1");
  choice.said.length = 0;
  choice.seen = { ...OWN, port: 4001 };
  choice.run(500);
  expect(choice.said).toEqual(["moved 4001"]);
  choice.instance.set("h1", 2);
  choice.run(500);
  expect(choice.said).toEqual(["moved 4001", "changed"]);
  expect(relaysFor(choice.state, { nowMs: choice.nowMs })[0]?.instance).toBe(2);
});

test("bytes at rest: 4 pings a minute to the own hub, 1 to each other, 180 bytes with the answer", () => {
  const choice = new Driver([20, 40, 60]);
  choice.run(60_000);
  [choice.pings, choice.bytes] = [0, 0];
  choice.run(600_000);
  expect(choice.pings / 10).toBeCloseTo(4 + 1 + 1, 0);
  expect(choice.bytes / choice.pings).toBe(180);
  // While traffic is relayed: 5 pings a second to that hub, and one in 2 s to each other.
  choice.relaying("h1");
  choice.run(5_000);
  choice.pings = 0;
  choice.run(60_000);
  expect(choice.pings).toBeLessThan(390);
});
