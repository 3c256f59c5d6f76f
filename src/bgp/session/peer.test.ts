/** Two machines that face each other over a simulated network: whatever the weather, they end up with one and the same connection. */
import { describe, expect, test } from "bun:test";
import { parseIp } from "../../net/mod.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import { bgpError, CEASE, ERROR, IPV4_UNICAST } from "../wire/mod.ts";
import { peerConfig, type SessionConfig } from "./negotiate.ts";
import type { PeerCause } from "./peer-event.ts";
import { NEW_PEER, type PeerConfig, peerDeadline, type PeerState, stepPeer } from "./peer.ts";

/** Where the call that stays by identifier comes to its OPEN when the other one has made the session at both ends. */
const KEPT = [1_134, 8_876, 12_451, 17_695, 424_942_160];

/** One end of a connection: its number there. */
interface End {
  number: number | undefined;
  /** It does not listen any more. */
  closed: boolean;
}

/** A connection: made by side `by`; what is sent arrives in order. */
interface Link {
  readonly by: 0 | 1;
  readonly ends: readonly [End, End];
  /** When the last thing that was sent arrives, in each direction. */
  readonly last: [number, number];
}

interface Arrival {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** Two peers, their connections, and a clock. */
class Weather {
  nowMs = 0;
  readonly states: [PeerState, PeerState] = [NEW_PEER, NEW_PEER];
  readonly downs: [number, number] = [0, 0];
  readonly #links: Link[] = [];
  readonly #arrivals: Arrival[] = [];
  readonly #heardMs: [number, number] = [0, 0];
  readonly #random: Random;
  readonly #configs: readonly [PeerConfig, PeerConfig];
  #order = 0;
  /** Nobody hears anybody. */
  cut = false;
  /** Nothing is lost, and all is as fast. */
  calm = false;
  /** How long each side's kernel has a connection before the side hears of it. */
  readonly backlogMs: [number, number] = [0, 0];

  constructor(random: Random, configs: readonly [PeerConfig, PeerConfig]) {
    this.#random = random;
    this.#configs = configs;
  }

  at(atMs: number, run: () => void): void {
    this.#arrivals.push({ atMs, order: this.#order++, run });
  }

  #delay(): number {
    if (this.calm) return 1;
    return 1 + this.#random.below(this.#random.below(4) === 0 ? 400 : 20);
  }

  event(side: 0 | 1, cause: PeerCause, offered?: Link): void {
    const event = { ...cause, nowMs: this.nowMs, chance: this.#random.below(1000) / 1000 };
    const [state, effects] = stepPeer(this.states[side], event, this.#configs[side]);
    this.states[side] = state;
    const other = (1 - side) as 0 | 1;
    let refused = offered;
    for (const effect of effects) {
      const link = "connection" in effect ? this.#linkOf(side, effect.connection) : undefined;
      switch (effect.kind) {
        case "connect":
          this.#connect(side, effect.connection);
          break;
        case "adopt":
          (refused as Link).ends[side].number = effect.connection;
          refused = undefined;
          break;
        case "send":
          if (link !== undefined)
            this.#carry(link, other, (number) => ({
              kind: "message",
              connection: number,
              type: effect.bytes[18] as number,
              body: effect.bytes.slice(19),
            }));
          break;
        case "close":
          if (link !== undefined) this.#close(link, side);
          break;
        case "down":
          this.downs[side]++;
      }
    }
    if (refused !== undefined) this.#close(refused, side);
  }

  #linkOf(side: 0 | 1, number: number): Link | undefined {
    return this.#links.find(({ ends }) => ends[side].number === number && !ends[side].closed);
  }

  #connect(side: 0 | 1, number: number): void {
    const end = (own: boolean): End => ({ number: own ? number : undefined, closed: false });
    const link: Link = { by: side, ends: [end(side === 0), end(side === 1)], last: [0, 0] };
    this.#links.push(link);
    const there = this.nowMs + this.#delay();
    const back = there + this.#delay();
    const heard = there + this.backlogMs[side === 0 ? 1 : 0];
    link.last[side === 0 ? 1 : 0] = heard;
    link.last[side] = back;
    if (this.cut || (!this.calm && this.#random.below(20) === 0)) {
      this.at(back + 3_000, () => this.#gone(link, side, "ETIMEDOUT"));
      return;
    }
    this.at(heard, () => this.event((1 - side) as 0 | 1, { kind: "accepted" }, link));
    this.at(back, () => {
      if (!link.ends[side].closed) this.event(side, { kind: "connected", connection: number });
    });
  }

  /** Takes an event to the other end, after all that was sent before. */
  #carry(link: Link, to: 0 | 1, cause: (number: number) => PeerCause): void {
    const atMs = Math.max(link.last[to] + 1, this.nowMs + this.#delay());
    link.last[to] = atMs;
    const cut = this.cut;
    this.at(atMs, () => {
      const end = link.ends[to];
      if (cut || end.closed || end.number === undefined) return;
      if (end.number === this.states[to].main.connection) this.#heardMs[to] = this.nowMs;
      this.event(to, cause(end.number));
    });
  }

  #close(link: Link, side: 0 | 1): void {
    link.ends[side].closed = true;
    const to = (1 - side) as 0 | 1;
    const atMs = Math.max(link.last[to] + 1, this.nowMs + this.#delay());
    link.last[to] = atMs;
    this.at(atMs, () => this.#gone(link, to, "closed"));
  }

  #gone(link: Link, side: 0 | 1, reason: string): void {
    const end = link.ends[side];
    if (end.closed) return;
    end.closed = true;
    if (end.number !== undefined) this.event(side, { kind: "failed", connection: end.number, reason });
  }

  /** run lets time pass until `done`, or until the given moment. */
  run(untilMs: number, done: () => boolean = () => false): void {
    while (!done()) {
      const next = this.#arrivals.toSorted((a, b) => a.atMs - b.atMs || a.order - b.order).at(0);
      const view = (side: 0 | 1) => ({ heardMs: this.#heardMs[side], sendHoldMs: 0 });
      const timers = ([0, 1] as const).map((side) => peerDeadline(this.states[side], view(side))?.atMs);
      const atMs = Math.min(next?.atMs ?? Infinity, timers[0] ?? Infinity, timers[1] ?? Infinity);
      if (atMs > untilMs) break;
      this.nowMs = Math.max(this.nowMs, atMs);
      if (next !== undefined && next.atMs <= atMs) {
        this.#arrivals.splice(this.#arrivals.indexOf(next), 1);
        next.run();
      } else
        for (const side of [0, 1] as const)
          if ((timers[side] ?? Infinity) <= atMs)
            this.event(side, { kind: "time", heardMs: this.#heardMs[side] });
    }
  }

  /** Where both are, for a failure's text. */
  get text(): string {
    const slot = (one: PeerState["main"] | undefined) =>
      one && `${one.fsm.kind} ${one.connection} by ${one.by}`;
    return this.states.map(({ main, second }) => `${slot(main)}, ${slot(second)}`).join("; ");
  }

  /** Both are established, with the same connection, and have no other. */
  get one(): boolean {
    const [a, b] = this.states;
    if (a.main.fsm.kind !== "established" || b.main.fsm.kind !== "established") return false;
    if (a.second !== undefined || b.second !== undefined) return false;
    const link = a.main.connection === undefined ? undefined : this.#linkOf(0, a.main.connection);
    return link !== undefined && link.ends[1].number === b.main.connection && !link.ends[1].closed;
  }
}

const sides = (random: Random): readonly [PeerConfig, PeerConfig] => {
  const restart =
    random.below(2) === 0 ? { restart: { restartMs: 120_000, notification: random.below(2) === 0 } } : {};
  const lower = random.below(2);
  const equal = random.below(5) === 0;
  const config = (side: 0 | 1): SessionConfig => ({
    localAs: 65001 + side,
    remoteAs: 65002 - side,
    routerId: parseIp(equal ? "10.0.0.9" : side === lower ? "10.0.0.1" : "10.0.0.2"),
    holdMs: 30_000,
    families: [{ family: IPV4_UNICAST, restart: true }],
    ...restart,
  });
  const passive = random.below(6);
  const delay = () => (random.below(5) === 0 ? { delayOpenMs: 1_000 } : {});
  return [
    peerConfig(config(0), { passive: passive === 0, ...delay() }),
    peerConfig(config(1), { passive: passive === 1, ...delay() }),
  ];
};

describe("two peers", () => {
  const seed = newSeed();
  test(`come together on one connection, and again after each trouble (SEED=${seed})`, () => {
    for (let round = 0; round < 150; round++) {
      const random = new Random(seed + round);
      const weather = new Weather(random, sides(random));
      for (const side of [0, 1] as const)
        weather.at(random.below(60), () => weather.event(side, { kind: "start" }));
      const meet = (what: string) => {
        weather.run(weather.nowMs + 600_000, () => weather.one);
        if (!weather.one) throw new Error(`SEED=${seed + round}: ${what}: ${weather.text}`);
        // What is on its way may still part them, once: the other side may not have known.
        weather.run(weather.nowMs + 60_000);
        weather.run(weather.nowMs + 600_000, () => weather.one);
        const downs = [...weather.downs];
        weather.run(weather.nowMs + 300_000);
        expect([round, weather.one, ...weather.downs]).toEqual([round, true, ...downs]);
      };
      meet("at first");
      // Nothing gets through for longer than the hold time.
      weather.cut = true;
      weather.run(weather.nowMs + 45_000);
      weather.cut = false;
      meet("after silence");
      // One of them starts anew, and remembers nothing.
      const side = random.below(2) as 0 | 1;
      weather.states[side] = { ...NEW_PEER, nextConnection: weather.states[side].nextConnection };
      weather.event(side, { kind: "start" });
      meet("after a restart");
      weather.event(side, {
        kind: "stop",
        automatic: true,
        error: bgpError(ERROR.cease, CEASE.administrativeReset, { text: "reset" }),
      });
      meet("after a reset");
    }
  });

  test(`that call each other at once stay together, though one hears late that it was called (SEED=${seed})`, () => {
    for (const round of [...KEPT, ...Array.from({ length: 150 }, (_, i) => seed + i)]) {
      const random = new Random(round);
      const config = (side: 0 | 1) =>
        peerConfig(
          {
            localAs: 65001 + side,
            remoteAs: 65002 - side,
            routerId: parseIp(`10.0.0.${1 + side}`),
            holdMs: 30_000,
            families: [{ family: IPV4_UNICAST, restart: true }],
            restart: { restartMs: 120_000, notification: true },
          },
          {},
        );
      const weather = new Weather(random, [config(0), config(1)]);
      weather.calm = true;
      weather.backlogMs[random.below(2)] = random.below(300);
      for (const side of [0, 1] as const)
        weather.at(random.below(5), () => weather.event(side, { kind: "start" }));
      weather.run(600_000, () => weather.one);
      weather.run(weather.nowMs + 60_000);
      // One of them may have had the other connection for a moment; both never part.
      expect([round, weather.one, Math.min(...weather.downs)]).toEqual([round, true, 0]);
    }
  });
});
