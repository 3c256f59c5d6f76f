import { expect, test } from "bun:test";
import { type Endpoint, parseEndpoint } from "../net/mod.ts";
import { ladderDueMs, ladderUse, startLadder, stepLadder } from "./ladder.ts";
import { canRest, mindsTime } from "./ladder-rest.ts";
import type { LadderEffect, LadderEvent, LadderMode, LadderState, LadderStep } from "./ladder-state.ts";
import { REST_AFTER_MS } from "./ladder-timing.ts";

const hub = parseEndpoint("203.0.113.1:51820");
const direct = parseEndpoint("198.51.100.7:51820");
const TICK_MS = 1000;

function start(mode: LadderMode): LadderState {
  const known = { endpoint: hub, rxBytes: 0, txBytes: 0 };
  const candidates = [{ endpoint: direct, rung: "direct", source: "configured" }] as const;
  const relays = [{ hub: "hub", endpoint: hub }];
  return startLadder({ nowMs: 0, controlling: true, mode, seed: 1n, relays, candidates, known })[0];
}

interface Reading {
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly handshakeMs: number | undefined;
  readonly endpoint: Endpoint;
}

function observed(nowMs: number, { handshakeMs, ...reading }: Reading): LadderEvent {
  const age = handshakeMs === undefined ? {} : { handshakeAgeMs: nowMs - handshakeMs };
  return { kind: "observed", nowMs, ...reading, ...age };
}

/** A reproducible source of numbers below a bound (Knuth, MMIX). */
function dice(seed: number): (bound: number) => number {
  let state = BigInt(seed);
  return (bound) => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return Number((state >> 33n) % BigInt(bound));
  };
}

/** What both are compared by: when the device was read last is another. */
function shown({ traffic: { atMs: _, ...traffic }, ...state }: LadderState): object {
  return { ...state, traffic };
}

test.each(["on-demand", "hubs", "full"] as const)(
  "%s: readings in which nothing is new change nothing unless time counts",
  (mode) => {
    let skipped = 0;
    for (let seed = 1; seed <= 12; seed++) {
      const roll = dice(seed);
      let [told, spared] = [start(mode), start(mode)];
      let reading: Reading = { rxBytes: 0, txBytes: 0, handshakeMs: undefined, endpoint: hub };
      let before: Reading | undefined = reading;
      const read = (nowMs: number) => {
        before = reading;
        both(observed(nowMs, reading));
      };
      const both = (event: LadderEvent) => {
        const steps: LadderStep[] = [stepLadder(told, event), stepLadder(spared, event)];
        const [[one, effects], [other, others]] = steps as [LadderStep, LadderStep];
        if (!Bun.deepEquals(others, effects)) expect(others).toEqual(effects);
        [told, spared] = [one, other];
        // The device goes where it is told to, most often; one that is asked for is read.
        if (effects.some(({ kind }) => kind === "use") && roll(8) > 0)
          reading = { ...reading, endpoint: ladderUse(one).endpoint ?? reading.endpoint };
        if (effects.some(({ kind }) => kind === "look") && event.kind !== "observed") read(event.nowMs);
      };
      for (let nowMs = TICK_MS; nowMs < 900_000; nowMs += TICK_MS) {
        for (let i = 0; i < 4; i++) {
          const dueMs = ladderDueMs(told, nowMs);
          if (dueMs === undefined || dueMs > nowMs) break;
          both({ kind: "due", nowMs });
        }
        // A while of talk in one direction or both, a handshake, a roaming, and long silence.
        const mood = Math.floor(nowMs / 60_000) % 5;
        if (mood === 1 && roll(3) === 0) reading = { ...reading, txBytes: reading.txBytes + roll(3000) };
        if (mood === 1 && roll(4) === 0) reading = { ...reading, rxBytes: reading.rxBytes + roll(3000) };
        if (mood < 2 && roll(40) === 0) reading = { ...reading, handshakeMs: nowMs - roll(900) };
        if (mood === 1 && roll(60) === 0) reading = { ...reading, endpoint: roll(2) === 0 ? direct : hub };
        if (reading === before && !mindsTime(spared, reading.endpoint)) {
          skipped++;
          const [state, effects] = stepLadder(told, observed(nowMs, reading));
          const [other, others] = stepLadder(spared, { kind: "due", nowMs });
          expect(others).toEqual(effects as LadderEffect[]);
          [told, spared] = [state, other];
        } else read(nowMs);
        if (!Bun.deepEquals(shown(spared), shown(told))) expect(shown(spared)).toEqual(shown(told));
      }
    }
    expect(skipped).toBeGreaterThan(1000);
  },
);

test("a pair rests five minutes after it talked, at the relay and with nothing under way", () => {
  const begun = start("on-demand");
  expect(canRest(begun, REST_AFTER_MS - 1, hub)).toBe(false);
  expect(canRest(begun, REST_AFTER_MS, hub)).toBe(true);
  // The device is elsewhere: WireGuard went there by itself, or was not told yet.
  expect(canRest(begun, REST_AFTER_MS, direct)).toBe(false);
  const [talks] = stepLadder(begun, { kind: "observed", nowMs: 5_000, rxBytes: 5_000, txBytes: 5_000 });
  expect(canRest(talks, REST_AFTER_MS + 4_999, hub)).toBe(false);
  expect(canRest(start("full"), 10 * REST_AFTER_MS, hub)).toBe(false);
  expect(canRest(start("hubs"), REST_AFTER_MS, hub)).toBe(true);
});
