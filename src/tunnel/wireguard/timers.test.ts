import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { SPECIFIED } from "./specification.ts";
import { nextDue, NO_TIMERS, stepTimers, type TimerEffect, type TimerEvent, type Timers } from "./timers.ts";

const step = (timers: Timers, event: TimerEvent, nowMs: number, persistentMs = 0) =>
  stepTimers(timers, event, { nowMs, persistentMs, timing: SPECIFIED, jitterMs: () => 100 });

/** The state after several events, each at its moment. */
function after(...events: readonly (readonly [nowMs: number, event: TimerEvent])[]): Timers {
  return events.reduce<Timers>((timers, [nowMs, event]) => step(timers, event, nowMs)[0], NO_TIMERS);
}

/** Lets all timers run until a moment; every effect with its time. */
function run(
  timers: Timers,
  untilMs: number,
  react: (effect: TimerEffect, nowMs: number) => TimerEvent[] = () => [],
) {
  const log: string[] = [];
  let state = timers;
  for (let nowMs = nextDue(state); nowMs <= untilMs; nowMs = nextDue(state)) {
    const [next, effects] = step(state, { kind: "due" }, nowMs);
    state = next;
    for (const effect of effects) {
      log.push(`${effect} at ${nowMs}`);
      for (const event of react(effect, nowMs)) state = step(state, event, nowMs)[0];
    }
  }
  return { state, log };
}

const sent = { kind: "sent", data: true } as const;
const came = { kind: "received", data: true } as const;

describe("section 6.5: passive keepalive", () => {
  test("10 s after data came and nothing was sent", () => {
    expect(run(after([1000, came]), 60_000).log).toEqual(["passive keepalive at 11000"]);
  });

  test("anything sent meanwhile is enough", () => {
    expect(run(after([1000, came], [5000, { kind: "sent", data: false }]), 60_000).log).toEqual([]);
  });

  test("keepalives are not answered with keepalives", () => {
    expect(run(after([1000, { kind: "received", data: false }]), 600_000).log).toEqual([]);
  });

  test("more data while it was awaited: once more 10 s later, also when the keepalive itself is sent", () => {
    const passive = { kind: "sent", data: false, passive: true } as const;
    const { log } = run(after([1000, came], [2000, came], [3000, came]), 60_000, (effect) =>
      effect === "passive keepalive" ? [passive] : [],
    );
    expect(log).toEqual(["passive keepalive at 11000", "passive keepalive at 21000"]);
  });
});

describe("section 6.2: a new handshake after silence", () => {
  test("15 s and jitter after the first data that had no answer", () => {
    expect(run(after([1000, sent], [9000, sent]), 60_000).log).toEqual(["initiate at 16100"]);
  });

  test("anything that comes is an answer", () => {
    expect(run(after([1000, sent], [9000, { kind: "received", data: false }]), 60_000).log).toEqual([]);
    expect(run(after([1000, sent], [9000, came], [10_000, sent]), 60_000).log).toEqual(["initiate at 25100"]);
  });

  test("a keepalive that is sent awaits nothing", () => {
    expect(run(after([1000, { kind: "sent", data: false }]), 60_000).log).toEqual([]);
  });
});

describe("section 6.4: an initiation is repeated", () => {
  const again = (effect: TimerEffect): TimerEvent[] => (effect === "retry" ? [{ kind: "initiated" }] : []);

  test("every 5 s and jitter, for 90 s; then it is given up, and all keys are wiped 540 s later", () => {
    const { log, state } = run(after([0, { kind: "wanted" }], [0, { kind: "initiated" }]), 10_000_000, again);
    const retries = Array.from({ length: 18 }, (_, i) => `retry at ${5100 * (i + 1)}`);
    expect(log).toEqual([...retries, "give up at 96900", "wipe at 636900"]);
    expect(nextDue(state)).toBe(Number.POSITIVE_INFINITY);
  });

  test("somebody who wants one anew begins the 90 s anew", () => {
    const first = run(after([0, { kind: "wanted" }], [0, { kind: "initiated" }]), 60_000, again);
    const wanted = step(first.state, { kind: "wanted" }, 60_000)[0];
    expect(run(wanted, 10_000_000, again).log.filter((line) => line.startsWith("retry"))).toHaveLength(18);
  });

  test("a session ends it", () => {
    const { log } = run(
      after([0, { kind: "initiated" }], [50, { kind: "derived" }], [50, { kind: "complete" }]),
      100_000,
    );
    expect(log).toEqual([]);
  });
});

describe("section 6.3: keys are wiped", () => {
  test("540 s after the last session was made", () => {
    expect(run(after([0, { kind: "derived" }], [100_000, { kind: "derived" }]), 10_000_000).log).toEqual([
      "wipe at 640000",
    ]);
  });
});

describe("persistent keepalive", () => {
  const every = (state: Timers, event: TimerEvent, nowMs: number) => step(state, event, nowMs, 25_000)[0];

  test("that long after anything that passed, in either direction", () => {
    const state = every(every(NO_TIMERS, sent, 0), { kind: "received", data: false }, 5000);
    const [next, effects] = step(state, { kind: "due" }, 30_000, 25_000);
    expect(effects).toEqual(["initiate", "persistent keepalive"].slice(1) as TimerEffect[]);
    expect(next.persistent).toBeUndefined();
    expect(every(next, { kind: "sent", data: false }, 30_000).persistent).toBe(55_000);
  });

  test("turned off, it stops with the next packet or says nothing when it is due", () => {
    const state = every(NO_TIMERS, { kind: "sent", data: false }, 0);
    expect(step(state, { kind: "sent", data: false }, 10)[0].persistent).toBeUndefined();
    expect(step(state, { kind: "due" }, 25_000)[1]).toEqual([]);
  });
});

describe("sleep", () => {
  test("what is due at waking comes once, endings before beginnings", () => {
    const state = after(
      [0, { kind: "derived" }],
      [1000, came],
      [1000, sent],
      [1500, came],
      [2000, { kind: "initiated" }],
    );
    const [, effects] = step({ ...state, persistent: 25_000 }, { kind: "due" }, 8 * 3600_000, 25_000);
    expect(effects).toEqual(["wipe", "retry", "passive keepalive", "persistent keepalive"]);
  });
});

test("most packets of a running flow change nothing: the same object comes back", () => {
  let timers = after([0, sent]);
  for (let i = 1; i < 100; i++) {
    const next = step(timers, sent, i)[0];
    expect(next).toBe(timers);
    timers = next;
  }
});

const seed = newSeed();
test(`whatever happens: timers are in the future after they were looked at, and all of them end (seed ${seed})`, () => {
  const random = new Random(seed);
  const events: TimerEvent[] = [
    { kind: "sent", data: true },
    { kind: "sent", data: false },
    { kind: "received", data: true },
    { kind: "received", data: false },
    { kind: "wanted" },
    { kind: "initiated" },
    { kind: "derived" },
    { kind: "complete" },
    { kind: "due" },
  ];
  for (let round = 0; round < 200; round++) {
    let [timers, nowMs] = [NO_TIMERS, 0];
    for (let i = 0; i < 100; i++) {
      nowMs += random.pick([0, 1, 100, 5000, 15_000, 200_000]);
      timers = step(step(timers, { kind: "due" }, nowMs)[0], random.pick(events), nowMs)[0];
      expect(nextDue(timers)).toBeGreaterThan(nowMs);
      expect(timers.attempts).toBeLessThanOrEqual(18);
    }
    // Without new events nothing goes on for ever.
    expect(run(timers, nowMs + 10_000_000).state).toMatchObject({ again: false });
    expect(nextDue(run(timers, nowMs + 10_000_000).state)).toBe(Number.POSITIVE_INFINITY);
  }
});
