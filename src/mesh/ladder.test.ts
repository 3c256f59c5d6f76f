import { describe, expect, test } from "bun:test";
import { formatEndpoint, parseEndpoint } from "../net/mod.ts";
import type { Candidate } from "./candidates.ts";
import { explainLadder } from "./ladder-explain.ts";
import * as timing from "./ladder-timing.ts";
import type { LadderEffect, LadderEvent, LadderState, Relay } from "./ladder-state.ts";
import {
  awaitsAnswer,
  hearingHub,
  ladderDueMs,
  ladderMtu,
  type LadderStart,
  ladderUse,
  relayingHub,
  startLadder,
  stepLadder,
} from "./ladder.ts";
import { LEAST_PROBE_BYTES } from "./probe.ts";

const HUB: Relay = { hub: "one", endpoint: parseEndpoint("192.0.2.1:51820"), rttMs: 40, mtuBytes: 1500 };
const HUB2: Relay = { hub: "two", endpoint: parseEndpoint("192.0.2.2:51820"), rttMs: 60 };
const LAN = parseEndpoint("192.168.1.7:51820");
const OPEN = parseEndpoint("198.51.100.7:51820");
const SEEN = parseEndpoint("203.0.113.7:4000");
const candidate = (endpoint: typeof LAN, rung: Candidate["rung"]): Candidate => ({
  endpoint,
  rung,
  source: rung === "lan" ? "local" : rung === "direct" ? "configured" : "observed",
});
const ALL = [candidate(LAN, "lan"), candidate(OPEN, "direct"), candidate(SEEN, "punched")];

type Ping = Extract<LadderEffect, { readonly kind: "ping" }>;

/** Drives one ladder; the world answers pings to the endpoints in `answers`, after their round trip. */
class Driver {
  state: LadderState;
  nowMs = 0;
  readonly said: string[] = [];
  readonly pings: Ping[] = [];
  /** Round trip by endpoint, and whether the other side is on the direct path. */
  readonly answers = new Map<string, number>();
  chosen = true;
  rx = 0;
  tx = 0;
  endpoint: typeof LAN | undefined;
  handshakeMs: number | undefined;
  /** Bytes a second, each way. */
  talk = { rx: 0, tx: 0 };
  #pongs: { atMs: number; event: LadderEvent }[] = [];
  #observedMs = 0;
  #talkedMs = 0;

  constructor(options: Partial<LadderStart> = {}) {
    const [state, effects] = startLadder({
      nowMs: 0,
      controlling: true,
      mode: "full",
      seed: 100n,
      relays: [HUB],
      candidates: ALL,
      ...options,
    });
    this.state = state;
    this.take(effects);
  }

  take(effects: readonly LadderEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === "ping") {
        this.pings.push(effect);
        const rtt = this.answers.get(formatEndpoint(effect.to));
        if (rtt === undefined) continue;
        const { transaction, sizeBytes, to: from } = effect;
        const event = { kind: "pong", from, transaction, sizeBytes, chosen: this.chosen } as const;
        this.#pongs.push({ atMs: this.nowMs + rtt, event: { ...event, nowMs: this.nowMs + rtt } });
      } else if (effect.kind === "use") {
        const { endpoint, generation, keepaliveSeconds } = ladderUse(this.state);
        this.endpoint = endpoint;
        if (keepaliveSeconds !== undefined) this.handshakeMs = undefined;
        const where = endpoint === undefined ? "-" : formatEndpoint(endpoint);
        this.say(`use ${where} g${generation}${keepaliveSeconds === undefined ? "" : " handshake"}`);
      } else if (effect.kind !== "pong") this.say(effect.kind);
      else this.say(`pong ${effect.chosen}`);
      if (effect.kind === "look") this.observe();
    }
  }

  say(text: string): void {
    this.said.push(`${(this.nowMs / 1000).toFixed(1)} ${text}`);
  }

  step(event: LadderEvent): void {
    const [state, effects] = stepLadder(this.state, event);
    this.state = state;
    this.take(effects);
  }

  observe(): void {
    const passedMs = this.nowMs - this.#talkedMs;
    this.#talkedMs = this.nowMs;
    this.rx += (this.talk.rx * passedMs) / 1000;
    this.tx += (this.talk.tx * passedMs) / 1000;
    this.step({
      kind: "observed",
      nowMs: this.nowMs,
      rxBytes: this.rx,
      txBytes: this.tx,
      ...(this.handshakeMs === undefined ? {} : { handshakeAgeMs: this.nowMs - this.handshakeMs }),
      ...(this.endpoint === undefined ? {} : { endpoint: this.endpoint }),
    });
  }

  run(ms: number): void {
    const end = this.nowMs + ms;
    for (let steps = 0; ; steps++) {
      expect(steps).toBeLessThan(100_000);
      this.#pongs.sort((a, b) => a.atMs - b.atMs);
      const due = ladderDueMs(this.state, this.nowMs) ?? Number.POSITIVE_INFINITY;
      const at = Math.min(this.#pongs[0]?.atMs ?? end, due, this.#observedMs + 1000, end);
      if (at >= end) break;
      this.nowMs = at;
      if (this.#observedMs + 1000 <= at) {
        this.#observedMs = at;
        // Sessions are renewed while the pair talks.
        const shaken = this.handshakeMs;
        if (this.talk.rx > 0 && shaken !== undefined && at - shaken > 120_000) this.handshakeMs = at;
        this.observe();
      } else if (this.#pongs[0] !== undefined && this.#pongs[0].atMs <= at)
        this.step((this.#pongs.shift() as { event: LadderEvent }).event);
      else this.step({ kind: "due", nowMs: at });
    }
    this.nowMs = end;
  }

  rung(): string {
    return explainLadder(this.state, this.nowMs).rung;
  }

  took(): string[] {
    return this.said.splice(0).filter((text) => !/ (look|mtu)$/.test(text));
  }
}

describe("going up", () => {
  test("the relay at once, then the best rung that answers", () => {
    const ladder = new Driver();
    expect(ladder.took()).toEqual(["0.0 use 192.0.2.1:51820 g0", "0.0 invite"]);
    ladder.answers.set(formatEndpoint(SEEN), 30).set(formatEndpoint(OPEN), 50);
    ladder.run(2_000);
    expect(ladder.took()).toEqual(["0.3 use 198.51.100.7:51820 g0"]);
    ladder.answers.set(formatEndpoint(LAN), 1);
    ladder.run(30_000);
    expect(ladder.rung()).toBe("lan");
    expect(ladder.took().at(-1)).toContain(`use ${formatEndpoint(LAN)} g0`);
  });

  test("nothing is used without a pong, nor without the peer's consent", () => {
    const ladder = new Driver();
    ladder.answers.set(formatEndpoint(OPEN), 50);
    ladder.chosen = false;
    ladder.run(60_000);
    expect(ladder.rung()).toBe("relay");
    expect(explainLadder(ladder.state, ladder.nowMs).candidates[1]).toMatchObject({
      state: "failed",
      rttMs: 50,
    });
    expect(explainLadder(ladder.state, ladder.nowMs).candidates[0]?.why).toMatch(
      /^never answered: \d+ pings in 3 rounds$/,
    );
  });

  test("rests grow, and end when something changes", () => {
    const ladder = new Driver();
    const times: number[] = [];
    for (let i = 0; i < 60; i++) {
      const before = ladder.pings.length;
      ladder.run(15_000);
      times.push(ladder.pings.length - before);
    }
    // 15 pings a round: at 0, 19, 53, 117 … seconds.
    expect(times.filter((count) => count > 0).length).toBeLessThan(10);
    expect(ladder.pings.length).toBeLessThanOrEqual(6 * 15);
    ladder.answers.set(formatEndpoint(OPEN), 50);
    ladder.step({ kind: "network", nowMs: ladder.nowMs });
    ladder.run(1_000);
    expect(ladder.rung()).toBe("direct");
  });

  test("an answer from elsewhere, a second one, or to nothing of ours proves nothing", () => {
    const ladder = new Driver({ candidates: [candidate(OPEN, "direct")] });
    const [ping] = ladder.pings as [Ping];
    const pong = { kind: "pong", chosen: true, sizeBytes: LEAST_PROBE_BYTES, nowMs: 10 } as const;
    ladder.step({ ...pong, from: SEEN, transaction: ping.transaction });
    ladder.step({ ...pong, from: OPEN, transaction: ping.transaction + 100n });
    expect(ladder.state.attempts[0]?.pongMs).toBeUndefined();
    ladder.step({ ...pong, from: OPEN, transaction: ping.transaction });
    expect(ladder.state.attempts[0]?.pongMs).toBe(10);
  });

  test("the controlled side goes where it is asked to, once it has an answer of its own", () => {
    const ladder = new Driver({ controlling: false, candidates: [] });
    const ping = {
      kind: "ping",
      from: SEEN,
      transaction: 9n,
      chosen: true,
      sizeBytes: LEAST_PROBE_BYTES,
    } as const;
    ladder.nowMs = 10;
    ladder.step({ ...ping, nowMs: 10 });
    // A ping that somebody played back from another place gets no further.
    expect(ladder.took()).toEqual(["0.0 use 192.0.2.1:51820 g0", "0.0 pong false"]);
    ladder.answers.set(formatEndpoint(SEEN), 20);
    ladder.run(1_500);
    ladder.step({ ...ping, nowMs: ladder.nowMs });
    ladder.run(100);
    expect(ladder.took()).toContain("1.5 use 203.0.113.7:4000 g0");
  });

  test("a flood of pings gets no more answers than its bound, and few pings", () => {
    const ladder = new Driver({ candidates: [] });
    for (let i = 0; i < 1000; i++) {
      const from = { ...SEEN, port: 5000 + i };
      ladder.step({ kind: "ping", nowMs: i, from, transaction: BigInt(i), chosen: true, sizeBytes: 1400 });
      ladder.nowMs = i;
    }
    expect(ladder.said.filter((text) => text.includes("pong")).length).toBeLessThanOrEqual(61);
    expect(ladder.pings.length).toBeLessThanOrEqual(4);
    expect(ladder.state.attempts.length).toBeLessThanOrEqual(24);
  });
});

describe("falling back", () => {
  function direct(options: Partial<LadderStart> = {}): Driver {
    const ladder = new Driver({ candidates: [candidate(OPEN, "direct")], ...options });
    ladder.answers.set(formatEndpoint(OPEN), 50);
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.handshakeMs = 0;
    ladder.run(20_000);
    if (options.controlling !== false) expect(ladder.rung()).toBe("direct");
    ladder.took();
    return ladder;
  }

  test("within 2 s when nothing comes back: a handshake through the relay", () => {
    const ladder = direct();
    ladder.answers.clear();
    ladder.talk.rx = 0;
    const cutMs = ladder.nowMs;
    while (ladder.rung() !== "relay") ladder.run(10);
    expect(ladder.nowMs - cutMs).toBeLessThanOrEqual(2_000);
    expect(ladder.took()[0]).toContain("use 192.0.2.1:51820 g1 handshake");
    // Not seen within a second: the peer is made anew again.
    ladder.run(1_100);
    expect(ladder.took().filter((text) => text.includes("g2 handshake")).length).toBe(1);
    ladder.handshakeMs = ladder.nowMs;
    ladder.run(1_500);
    expect(ladder.took()).toEqual([expect.stringMatching(/ use 192.0.2.1:51820 g2$/)]);
  });

  test("the controlled side waits for the other's handshake, and makes one only without it", () => {
    for (const comes of [true, false]) {
      const ladder = new Driver({
        controlling: false,
        candidates: [],
        known: { endpoint: OPEN, rxBytes: 0, txBytes: 0, handshakeAgeMs: 100 },
      });
      ladder.endpoint = OPEN;
      ladder.handshakeMs = -100;
      ladder.answers.set(formatEndpoint(OPEN), 50);
      ladder.talk = { rx: 1000, tx: 1000 };
      ladder.run(10_000);
      ladder.answers.clear();
      ladder.talk.rx = 0;
      ladder.took();
      while (ladder.rung() !== "relay") ladder.run(10);
      if (comes) ladder.handshakeMs = ladder.nowMs;
      ladder.run(1_000);
      const uses = ladder.took().filter((text) => text.includes("use"));
      expect(uses[0]).toContain("use 192.0.2.1:51820 g0");
      expect(uses.some((text) => text.includes("g1 handshake"))).toBe(!comes);
    }
  });

  test("a few lost pings do not matter", () => {
    const ladder = direct();
    ladder.answers.clear();
    ladder.run(1_300);
    ladder.answers.set(formatEndpoint(OPEN), 50);
    ladder.run(10_000);
    expect(ladder.took()).toEqual([]);
  });

  test("a peer whose agent is away, while its packets come in, keeps its path", () => {
    const ladder = direct();
    ladder.answers.clear();
    ladder.run(6_000);
    expect(ladder.took()).toEqual([]);
    ladder.answers.set(formatEndpoint(OPEN), 50);
    ladder.run(10_000);
    expect(ladder.took()).toEqual([]);
  });

  test("a path that flaps is used less and less often", () => {
    const ladder = direct();
    const back: number[] = [];
    for (let i = 0; i < 4; i++) {
      ladder.answers.clear();
      ladder.talk.rx = 0;
      while (ladder.rung() !== "relay") ladder.run(100);
      const lostMs = ladder.nowMs;
      ladder.handshakeMs = ladder.nowMs;
      ladder.answers.set(formatEndpoint(OPEN), 50);
      ladder.talk.rx = 1000;
      while (ladder.rung() !== "direct") ladder.run(500);
      back.push(Math.round((ladder.nowMs - lostMs) / 1000));
      ladder.run(5_000);
    }
    expect(back[0]).toBeGreaterThanOrEqual(5);
    expect(back[1]).toBeGreaterThanOrEqual(10);
    expect(back[3]).toBeGreaterThanOrEqual(40);
    ladder.run(700_000);
    expect(ladder.state.attempts[0]?.losses).toBe(0);
  });

  test("what carries too small packets is left for a relay that carries them", () => {
    const ladder = new Driver({ candidates: [candidate(OPEN, "direct")] });
    const answer = ladder.take.bind(ladder);
    ladder.answers.set(formatEndpoint(OPEN), 50);
    ladder.take = (effects) =>
      answer(effects.filter((one) => one.kind !== "ping" || one.sizeBytes === LEAST_PROBE_BYTES));
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.run(5_000);
    expect(ladder.rung()).toBe("relay");
    expect(explainLadder(ladder.state, ladder.nowMs).candidates[0]?.why).toContain(
      "1340 bytes do not get through",
    );
  });
});

describe("this process stands still", () => {
  /** How long after its peer fell silent a direct path is left, by a process that stands still now and then. */
  const leftAfter = (standsMs: (unanswered: number) => number) => {
    const ladder = new Driver();
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.answers.set(formatEndpoint(OPEN), 30);
    ladder.run(20_000);
    ladder.answers.clear();
    ladder.talk = { rx: 0, tx: 1000 };
    const sinceMs = ladder.nowMs;
    for (let i = 0; ladder.rung() === "direct" && i < 5_000; i++) {
      ladder.run(10);
      const open = ladder.state.attempts.find(({ endpoint }) => endpoint === OPEN);
      const forMs = standsMs(open?.unanswered.length ?? 0);
      if (forMs === 0) continue;
      ladder.nowMs += forMs;
      if (awaitsAnswer(ladder.state)) ladder.step({ kind: "stood", nowMs: ladder.nowMs, forMs });
    }
    return ladder.nowMs - sinceMs;
  };

  test("a path lives longer by that", () => {
    let stood = false;
    const once = (unanswered: number) => (!stood && (stood = unanswered === 3) ? 1_500 : 0);
    const longerMs = leftAfter(once) - leftAfter(() => 0);
    expect(longerMs).toBeGreaterThan(1_300);
    expect(longerMs).toBeLessThan(1_700);
  });

  test("one that always does finds a path dead all the same", () => {
    expect(leftAfter(() => 990)).toBeLessThan(12_000);
  });
});

describe("with WireGuard", () => {
  test("handshakes that cross, or are lost, are made again in a second; a peer that is away is not called for ever", () => {
    const ladder = new Driver({ candidates: [] });
    ladder.talk = { rx: 0, tx: 148 };
    ladder.run(2_000);
    expect(ladder.took().at(-1)).toBe("1.4 use 192.0.2.1:51820 g1 handshake");
    ladder.run(3600_000);
    expect(ladder.state.generation).toBeLessThan(60);
    ladder.handshakeMs = ladder.nowMs;
    ladder.run(2_000);
    expect(ladderUse(ladder.state).keepaliveSeconds).toBeUndefined();
  });

  test("a restart disturbs nothing: neither a relay nor a direct path", () => {
    for (const [endpoint, rung] of [
      [HUB.endpoint, "relay"],
      [OPEN, "direct"],
    ] as const) {
      const known = { endpoint, rxBytes: 5000, txBytes: 5000, handshakeAgeMs: 30_000 };
      const ladder = new Driver({ known, candidates: [candidate(OPEN, "direct")] });
      ladder.answers.set(formatEndpoint(OPEN), 50);
      ladder.handshakeMs = -30_000;
      expect(ladder.rung()).toBe(rung);
      ladder.run(60_000);
      expect(ladder.rung()).toBe("direct");
      expect(ladder.took().filter((text) => text.includes("handshake"))).toEqual([]);
      expect(ladder.state.generation).toBe(0);
    }
  });

  test("a hub that becomes known later is no direct path", () => {
    const known = { endpoint: HUB.endpoint, rxBytes: 5000, txBytes: 5000, handshakeAgeMs: 30_000 };
    const ladder = new Driver({ known, relays: [], candidates: [] });
    ladder.step({ kind: "relays", nowMs: 5, relays: [HUB] });
    expect(ladder.rung()).toBe("relay");
    expect(ladder.state.generation).toBe(0);
  });

  test("where it roams is followed, asked, and left if it does not answer", () => {
    for (const works of [true, false]) {
      const ladder = new Driver({ candidates: [candidate(OPEN, "direct")] });
      ladder.answers.set(formatEndpoint(OPEN), 50);
      ladder.handshakeMs = 0;
      ladder.talk = { rx: 1000, tx: 1000 };
      ladder.run(10_000);
      ladder.took();
      ladder.answers.clear();
      if (works) ladder.answers.set(formatEndpoint(SEEN), 50);
      else ladder.talk.rx = 0;
      ladder.endpoint = SEEN;
      ladder.run(4_000);
      expect(ladder.rung()).toBe(works ? "punched" : "relay");
      expect(ladder.took()[0]).toContain("use 203.0.113.7:4000 g0");
    }
  });

  test("late packets through the relay do not lead it back; a peer that left does", () => {
    for (const left of [false, true]) {
      const ladder = new Driver({ candidates: [candidate(OPEN, "direct")] });
      ladder.answers.set(formatEndpoint(OPEN), 50);
      ladder.handshakeMs = 0;
      ladder.run(10_000);
      ladder.took();
      ladder.chosen = !left;
      if (left) ladder.run(6_000);
      ladder.endpoint = HUB.endpoint;
      ladder.observe();
      ladder.run(1_500);
      expect(ladder.took()[0]).toContain(left ? "use 192.0.2.1:51820 g" : "use 198.51.100.7:51820 g0");
      expect(ladder.rung()).toBe(left ? "relay" : "direct");
    }
  });

  test("a session that the device lost is made again at once, unless it does so itself, or there was none to lose", () => {
    for (const controlling of [true, false])
      for (const [sessionMs, begun] of [
        [0, false],
        [0, true],
        [-180_000, false],
      ] as const) {
        const known = { endpoint: OPEN, rxBytes: 0, txBytes: 0, handshakeAgeMs: -sessionMs };
        const ladder = new Driver({ controlling, known, candidates: [candidate(OPEN, "direct")] });
        ladder.answers.set(formatEndpoint(OPEN), 50);
        ladder.handshakeMs = sessionMs;
        ladder.run(2_000);
        expect(ladder.rung()).toBe("direct");
        ladder.took();
        // Its process ended, and another began with nothing.
        ladder.handshakeMs = undefined;
        ladder.tx = begun ? 148 : 0;
        ladder.observe();
        ladder.run(timing.LOST_CONTROLLED_MS + 2 * timing.LOOK_MS);
        const made = ladder.took().filter((text) => text.includes("g1 handshake"));
        expect([controlling, sessionMs, begun, made.length]).toEqual([
          controlling,
          sessionMs,
          begun,
          sessionMs === 0 && !begun ? 1 : 0,
        ]);
        ladder.handshakeMs = ladder.nowMs;
        ladder.run(60_000);
        expect(ladder.state.generation).toBe(made.length);
      }
  });

  test("a conversation that became one-sided gets a handshake, not a flow that always was", () => {
    for (const rung of ["relay", "direct"]) {
      const ladder = new Driver({ candidates: rung === "relay" ? [] : [candidate(OPEN, "direct")] });
      ladder.answers.set(formatEndpoint(OPEN), 50);
      ladder.handshakeMs = 0;
      ladder.talk = { rx: 1000, tx: 1000 };
      ladder.run(10_000);
      expect(ladder.rung()).toBe(rung);
      ladder.talk.rx = 0;
      ladder.run(6_000);
      expect(ladder.took().filter((text) => text.includes("handshake")).length).toBeGreaterThan(0);
      expect(ladder.rung()).toBe(rung);
    }
    const stream = new Driver({ candidates: [] });
    stream.handshakeMs = 0;
    stream.talk = { rx: 0, tx: 5000 };
    stream.run(60_000);
    expect(stream.took().filter((text) => text.includes("handshake"))).toEqual([]);
  });
});

describe("relays", () => {
  test("another hub takes over at once when the first is gone; a nearer one only after a while", () => {
    const ladder = new Driver({ candidates: [] });
    ladder.handshakeMs = 0;
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.run(5_000);
    expect(relayingHub(ladder.state, ladder.nowMs)).toBe("one");
    ladder.took();
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [HUB2, HUB] });
    expect(ladder.took()).toEqual([]);
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [HUB2] });
    expect(ladder.took().at(-1)).toBe("5.0 use 192.0.2.2:51820 g1 handshake");
    ladder.handshakeMs = ladder.nowMs + 50;
    ladder.run(40_000);
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [HUB, HUB2] });
    expect(ladder.took().at(-1)).toContain("192.0.2.1:51820 g2 handshake");
  });

  test("what the device says before it was set is not taken for the peer's wish", () => {
    const ladder = new Driver({ candidates: [] });
    ladder.handshakeMs = 0;
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.run(40_000);
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [HUB2, HUB] });
    ladder.endpoint = HUB.endpoint;
    ladder.handshakeMs = 0;
    ladder.nowMs += 20;
    ladder.observe();
    expect(relayingHub(ladder.state, ladder.nowMs)).toBe("two");
    expect(ladderUse(ladder.state)).toMatchObject({ endpoint: HUB2.endpoint, generation: 1 });
    // The other side's handshake went by there all the same: it is followed.
    ladder.endpoint = HUB.endpoint;
    ladder.handshakeMs = ladder.nowMs + 10;
    ladder.nowMs += 50;
    ladder.observe();
    expect(relayingHub(ladder.state, ladder.nowMs)).toBe("one");
    ladder.run(10_000);
    expect(ladder.state.generation).toBe(1);
  });

  test("what comes by the hub of before is not heard through the next one", () => {
    const ladder = new Driver({ candidates: [] });
    ladder.handshakeMs = 0;
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.run(5_000);
    const hearing = () => {
      ladder.nowMs += 100;
      ladder.observe();
      return hearingHub(ladder.state, ladder.nowMs);
    };
    expect(hearing()).toBe("one");
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [HUB2] });
    expect([hearing(), ladder.state.traffic.endpoint]).toEqual([undefined, HUB2.endpoint]);
    ladder.handshakeMs = ladder.nowMs + 50;
    expect(hearing()).toBe("two");
  });

  test("one that is at rest moves, whatever the device said before it was set", () => {
    const ladder = new Driver({ candidates: [], relays: [HUB, HUB2] });
    ladder.run(40_000);
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [HUB2, HUB] });
    ladder.endpoint = HUB.endpoint;
    ladder.observe();
    expect(ladderUse(ladder.state)).toEqual({ endpoint: HUB2.endpoint, generation: 0 });
    expect(ladder.endpoint).toEqual(HUB2.endpoint);
  });

  test("who waits for the other side's handshake sends by the hub of before: the next one knows no session yet", () => {
    const ladder = new Driver({ candidates: [], relays: [HUB, HUB2], controlling: false });
    ladder.handshakeMs = 0;
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.run(5_000);
    ladder.took();
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [HUB2] });
    ladder.observe();
    expect(relayingHub(ladder.state, ladder.nowMs)).toBe("two");
    expect([ladder.took(), ladderUse(ladder.state).endpoint]).toEqual([[], HUB.endpoint]);
    // The other side's handshake leads the device there.
    ladder.endpoint = HUB2.endpoint;
    ladder.handshakeMs = ladder.nowMs + 20;
    ladder.run(20_000);
    expect(ladderUse(ladder.state)).toEqual({ endpoint: HUB2.endpoint, generation: 0 });
  });

  test("and goes on by that when the next one is gone too; not where it was itself before", () => {
    const ladder = new Driver({ candidates: [], relays: [HUB, HUB2], controlling: false });
    ladder.handshakeMs = 0;
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.run(5_000);
    ladder.took();
    const relays = (...list: Relay[]) =>
      ladder.step({ kind: "relays", nowMs: (ladder.nowMs += 50), relays: list });
    relays(HUB2);
    const hub3: Relay = { hub: "three", endpoint: parseEndpoint("192.0.2.3:51820"), rttMs: 60 };
    relays(hub3);
    expect([ladder.took(), ladderUse(ladder.state).endpoint]).toEqual([[], HUB.endpoint]);
    ladder.endpoint = hub3.endpoint;
    ladder.handshakeMs = ladder.nowMs + 20;
    ladder.run(5_000);
    const endpoint = parseEndpoint("192.0.2.33:51820");
    relays({ ...hub3, endpoint });
    expect(ladderUse(ladder.state).endpoint).toEqual(endpoint);
  });

  test("and when none comes, makes one by the next hub", () => {
    const ladder = new Driver({ candidates: [], relays: [HUB, HUB2], controlling: false });
    ladder.handshakeMs = 0;
    ladder.talk = { rx: 0, tx: 1000 };
    ladder.run(2_000);
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [HUB2] });
    ladder.took();
    ladder.run(2_000);
    expect(ladder.took()[0]).toMatch(/^2\.[56] use 192\.0\.2\.2:51820 g1 handshake$/);
  });

  test("who would leave a hub, and is led back by the peer's packets, makes no handshake", () => {
    const ladder = new Driver({ candidates: [], relays: [HUB, HUB2], controlling: false });
    ladder.handshakeMs = 0;
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.run(5_000);
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [HUB2] });
    ladder.run(50);
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [HUB2, HUB] });
    ladder.endpoint = HUB.endpoint;
    ladder.observe();
    expect(relayingHub(ladder.state, ladder.nowMs)).toBe("one");
    ladder.run(10_000);
    expect(ladder.state.generation).toBe(0);
  });

  test("a hub that lost its table needs a handshake; an own address that moved does not, unless one was under way", () => {
    const ladder = new Driver({ candidates: [], relays: [{ ...HUB, instance: 1 }] });
    ladder.handshakeMs = 0;
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.run(3_000);
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [{ ...HUB, instance: 1 }] });
    expect(ladder.state.generation).toBe(0);
    ladder.talk.rx = 0;
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [{ ...HUB, instance: 2 }] });
    ladder.run(700);
    expect(ladder.state.generation).toBe(1);
    ladder.handshakeMs = ladder.nowMs;
    ladder.talk.rx = 1000;
    ladder.run(3_000);
    ladder.step({ kind: "network", nowMs: ladder.nowMs, moved: true });
    ladder.run(1_000);
    expect(ladder.state.generation).toBe(1);
    ladder.talk.rx = 0;
    ladder.step({ kind: "relays", nowMs: ladder.nowMs, relays: [{ ...HUB, instance: 3 }] });
    ladder.run(700);
    expect(ladder.state.generation).toBe(2);
    ladder.step({ kind: "network", nowMs: ladder.nowMs, moved: true });
    ladder.run(100);
    expect(ladder.state.generation).toBe(3);
  });

  test("the hub's MTU is the path's", () => {
    const ladder = new Driver({ candidates: [] });
    expect(ladderMtu(ladder.state)).toEqual({ pathBytes: 1500, tunnelBytes: 1440 });
  });
});

describe("modes", () => {
  test("hubs: no probes, no answers, and no direct path", () => {
    const ladder = new Driver({ mode: "hubs" });
    ladder.step({ kind: "ping", nowMs: 5, from: OPEN, transaction: 1n, chosen: true, sizeBytes: 62 });
    ladder.handshakeMs = 0;
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.run(600_000);
    expect(ladder.pings).toEqual([]);
    ladder.endpoint = OPEN;
    ladder.run(2_000);
    expect(ladder.took()).toEqual(["0.0 use 192.0.2.1:51820 g0", "600.0 use 192.0.2.1:51820 g0"]);
  });

  test("on demand: nothing without traffic, direct with it, and rest after it", () => {
    const ladder = new Driver({ mode: "on-demand" });
    ladder.answers.set(formatEndpoint(OPEN), 50);
    ladder.run(3600_000);
    expect(ladder.pings).toEqual([]);
    expect(ladderDueMs(ladder.state, ladder.nowMs)).toBeUndefined();
    ladder.handshakeMs = ladder.nowMs;
    ladder.talk = { rx: 1000, tx: 1000 };
    ladder.run(5_000);
    expect(ladder.rung()).toBe("direct");
    ladder.talk = { rx: 0, tx: 0 };
    ladder.run(310_000);
    expect(ladder.rung()).toBe("relay");
    ladder.handshakeMs = ladder.nowMs;
    ladder.run(10_000);
    const before = ladder.pings.length;
    ladder.run(3600_000);
    expect(ladder.pings.length).toBe(before);
  });

  test("on demand: who answers a handshake does not talk, who begins one does", () => {
    const ladder = new Driver({ mode: "on-demand" });
    ladder.run(2_000);
    ladder.rx += 148;
    ladder.tx += 92;
    ladder.run(2_000);
    ladder.rx += 32;
    ladder.handshakeMs = ladder.nowMs;
    ladder.run(30_000);
    expect(ladder.pings).toEqual([]);
    ladder.tx += 148;
    ladder.run(2_000);
    expect(ladder.pings.length).toBeGreaterThan(0);
  });

  test("on demand: both ends made anew, one after the other, are two handshakes and no talk", () => {
    const ladder = new Driver({ mode: "on-demand" });
    ladder.run(2_000);
    ladder.rx += 148;
    ladder.tx += 92;
    ladder.handshakeMs = ladder.nowMs;
    ladder.run(1_000);
    ladder.rx += 148 + 32 + 92;
    ladder.tx += 92;
    ladder.run(30_000);
    expect(ladder.pings).toEqual([]);
  });

  test("what a direct path costs at rest", () => {
    const ladder = new Driver({ candidates: [candidate(OPEN, "direct")] });
    ladder.answers.set(formatEndpoint(OPEN), 50);
    ladder.run(10_000);
    const count = (ms: number) => {
      const before = ladder.pings.length;
      ladder.run(ms);
      return ladder.pings.length - before;
    };
    ladder.talk = { rx: 1000, tx: 1000 };
    expect(count(60_000)).toBeLessThanOrEqual(64);
    ladder.talk = { rx: 0, tx: 0 };
    ladder.run(20_000);
    expect(count(60_000)).toBe(12);
    ladder.run(300_000);
    expect(count(60_000)).toBe(3);
  });
});
