import { describe, expect, test } from "bun:test";
import { choosePsk, leads, NO_KEY, type PskChoice } from "./psk-choice.ts";

interface End {
  choice?: PskChoice;
  available: number[];
}

/** A pair with traffic all the time, as WireGuard treats it: renewed at 120 s, tried every 5 s, dead at 180 s. Returns the seconds without a session. */
function deadSeconds(options: {
  readonly seconds: number;
  /** What each end has, by the second. */
  readonly leader: (second: number) => number[];
  readonly follower: (second: number) => number[];
}): { dead: number; generations: number[] } {
  const [leader, follower]: [End, End] = [{ available: [] }, { available: [] }];
  let handshakeMs: number | undefined;
  let triedMs = Number.NEGATIVE_INFINITY;
  let dead = 0;
  const generations: number[] = [];
  for (let second = 0; second < options.seconds; second++) {
    const wallMs = second * 1000;
    leader.choice = choosePsk(leader.choice, {
      leader: true,
      available: options.leader(second),
      lastHandshakeMs: handshakeMs,
      wallMs,
    });
    follower.choice = choosePsk(follower.choice, {
      leader: false,
      available: options.follower(second),
      lastHandshakeMs: handshakeMs,
      wallMs,
    });
    const ageMs = handshakeMs === undefined ? Number.POSITIVE_INFINITY : wallMs - handshakeMs;
    if (ageMs >= 120_000 && wallMs - triedMs >= 5000) {
      triedMs = wallMs;
      if (leader.choice.generation === follower.choice.generation) {
        handshakeMs = wallMs;
        generations.push(leader.choice.generation);
      }
    }
    if (handshakeMs === undefined || wallMs - handshakeMs >= 180_000) dead++;
  }
  return { dead, generations };
}

const from = (second: number, before: number[], after: number[]) => (now: number) =>
  now < second ? before : after;

describe("a change of a pair's pre-shared key", () => {
  test("loses nothing when both ends learn of it within a minute, in any order and at any moment of the session", () => {
    for (let at = 300; at < 430; at += 7)
      for (const skew of [-60, -31, -3, 0, 3, 31, 50]) {
        const { dead, generations } = deadSeconds({
          seconds: 1200,
          leader: from(at, [1], [2, 1]),
          follower: from(at + skew, [1], [2, 1]),
        });
        expect({ at, skew, dead }).toEqual({ at, skew, dead: 0 });
        expect(generations.at(-1)).toBe(2);
      }
  });

  test("nor when keys are turned on", () => {
    for (let at = 300; at < 430; at += 11) {
      const { dead, generations } = deadSeconds({
        seconds: 1200,
        leader: from(at, [NO_KEY], [1, NO_KEY]),
        follower: from(at + 20, [NO_KEY], [1, NO_KEY]),
      });
      expect([dead, generations.at(-1)]).toEqual([0, 1]);
    }
  });

  test("a leader that learns of it much later is followed with what it has", () => {
    const { dead, generations } = deadSeconds({
      seconds: 3000,
      leader: from(2000, [1], [2, 1]),
      follower: from(300, [1], [2, 1]),
    });
    expect([dead, generations.at(-1)]).toEqual([0, 2]);
    expect(generations.filter((generation) => generation === 1).length).toBeGreaterThan(8);
  });

  test("a node that was away without any key gets through to a hub that has one, and then uses it", () => {
    const { dead, generations } = deadSeconds({
      seconds: 600,
      leader: from(60, [NO_KEY], [1, NO_KEY]),
      follower: () => [1, NO_KEY],
    });
    expect(dead).toBeLessThan(30);
    expect([generations[0], generations.at(-1)]).toEqual([NO_KEY, 1]);
  });

  test("the leader never goes back: whoever blocks packets gets no older key and no pair without one", () => {
    let choice: PskChoice | undefined;
    for (let second = 0; second < 5000; second++) {
      choice = choosePsk(choice, {
        leader: true,
        available: [2, 1, NO_KEY],
        lastHandshakeMs: undefined,
        wallMs: second * 1000,
      });
      expect(choice.generation).toBe(2);
    }
  });
});

test("one end of a pair leads: the node towards a hub, else the smaller key", () => {
  const node = (publicKey: string, hub = false) => ({ publicKey, hub });
  for (const [a, b] of [
    [node("a"), node("b")],
    [node("b"), node("a", true)],
    [node("a", true), node("b", true)],
  ] as const)
    expect([leads(a, b), leads(b, a)]).toEqual([true, false]);
});
