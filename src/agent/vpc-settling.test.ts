import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import type { Speaker } from "../bgp/mod.ts";
import { VpcSettling } from "./vpc-settling.ts";

/** How often it was told that all has been. */
let settled = 0;
let neighbors: readonly boolean[] = [];
/** Families of which nothing is chosen yet, and whether that is so of another speaker. */
let deferred: readonly string[] = [];
let areOthersDeferring = false;
let settling: VpcSettling;

beforeEach(() => {
  jest.useFakeTimers();
  [settled, neighbors, deferred, areOthersDeferring] = [0, [true, false], [], false];
  settling = new VpcSettling({
    speaker: () =>
      ({
        neighbors: neighbors.map((isUp) => ({ session: { negotiated: isUp ? {} : undefined } })),
        restart: { deferred },
      }) as unknown as Speaker,
    areOthersDeferring: () => areOthersDeferring,
    onSettled: () => void settled++,
  });
});
afterEach(() => {
  settling[Symbol.dispose]();
  jest.useRealTimers();
});

/** The same, so many seconds later. */
const later = (seconds: number) => {
  jest.advanceTimersByTime(seconds * 1000);
  return settled;
};

describe("when all has been told", () => {
  test("60 s after an agent's begin, once", () => {
    settling.begin("agent");
    expect(later(59)).toBe(0);
    expect(later(1)).toBe(1);
    expect(later(600)).toBe(1);
  });

  test("16 s after another speaker's; it does not shorten the agent's time, and adds what is less", () => {
    settling.begin("speaker");
    expect(later(15)).toBe(0);
    expect(later(1)).toBe(1);
    settling.begin("agent");
    later(10);
    settling.begin("speaker");
    expect(later(49)).toBe(1);
    expect(later(1)).toBe(2);
    settling.begin("agent");
    later(58);
    settling.begin("speaker");
    expect(later(15)).toBe(2);
    expect(later(1)).toBe(3);
  });

  test("not while no neighbor is there: what was known is the best that there is", () => {
    settling.begin("agent");
    later(30);
    neighbors = [false, false];
    expect(later(3600)).toBe(0);
    neighbors = [false, true];
    expect(later(29)).toBe(0);
    expect(later(1)).toBe(1);
  });

  test("not while a neighbor is waited for with choosing, by it or by a host's speaker, nor 4 s after", () => {
    settling.begin("agent");
    deferred = ["l2vpn-evpn"];
    expect(later(70)).toBe(0);
    [deferred, areOthersDeferring] = [[], true];
    expect(later(70)).toBe(0);
    areOthersDeferring = false;
    expect(later(1)).toBe(0);
    expect(later(5)).toBe(1);
  });

  test("who has no neighbors waits for none", () => {
    neighbors = [];
    settling.begin("agent");
    expect(later(60)).toBe(1);
  });

  test("not after its end", () => {
    settling.begin("agent");
    settling[Symbol.dispose]();
    expect(later(600)).toBe(0);
  });
});
