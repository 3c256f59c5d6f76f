import { describe, expect, test } from "bun:test";
import { ip, parseIp } from "../../net/mod.ts";
import {
  LOAD_BURST,
  LOAD_PER_SECOND,
  MAX_BACKLOG,
  MAX_SOURCES,
  SOURCE_BURST,
  SOURCE_PER_SECOND,
} from "./limits.ts";
import { charge, isUnderLoad, type Load, NO_LOAD, Sources } from "./under-load.ts";

/** Charges at a rate for some seconds, from a moment. */
function rate(load: Load, options: { perSecond: number; seconds: number; fromMs: number }): Load {
  let now = load;
  for (let i = 0; i < options.perSecond * options.seconds; i++)
    now = charge(now, { nowMs: options.fromMs + (i * 1000) / options.perSecond });
  return now;
}

describe("load", () => {
  test("a burst is no load; one more is", () => {
    let load = NO_LOAD;
    for (let i = 0; i < LOAD_BURST; i++) load = charge(load, { nowMs: 5 });
    expect(isUnderLoad(load, 5)).toBe(false);
    load = charge(load, { nowMs: 5 });
    expect(isUnderLoad(load, 5)).toBe(true);
  });

  test("the rate may go on for ever; above it is load, and ends a second after the last message that was too much", () => {
    const quiet = rate(NO_LOAD, { perSecond: LOAD_PER_SECOND, seconds: 60, fromMs: 0 });
    expect(isUnderLoad(quiet, 60_000)).toBe(false);
    const busy = rate(NO_LOAD, { perSecond: LOAD_PER_SECOND * 2, seconds: 5, fromMs: 0 });
    expect(isUnderLoad(busy, 5_000)).toBe(true);
    expect(isUnderLoad(busy, 5_998)).toBe(true);
    expect(isUnderLoad(busy, 6_000)).toBe(false);
    // However long it was, the bucket is empty after LOAD_BURST at its rate.
    const after = charge(busy, { nowMs: 6_000 });
    expect(isUnderLoad(after, 6_000)).toBe(false);
  });

  test("a queue at the caller is load at once", () => {
    expect(isUnderLoad(charge(NO_LOAD, { nowMs: 1, backlog: MAX_BACKLOG }), 1)).toBe(false);
    expect(isUnderLoad(charge(NO_LOAD, { nowMs: 1, backlog: MAX_BACKLOG + 1 }), 1)).toBe(true);
  });
});

describe("sources", () => {
  const address = parseIp("192.0.2.1");

  test("a burst, then the rate", () => {
    const sources = new Sources();
    const burst = Array.from({ length: SOURCE_BURST + 3 }, () => sources.allow(address, 0));
    expect(burst.filter(Boolean)).toHaveLength(SOURCE_BURST);
    let allowed = 0;
    for (let ms = 1; ms <= 10_000; ms++) if (sources.allow(address, ms)) allowed++;
    expect(allowed).toBeGreaterThanOrEqual(10 * SOURCE_PER_SECOND - 1);
    expect(allowed).toBeLessThanOrEqual(10 * SOURCE_PER_SECOND + 1);
  });

  test("each IPv4 address and each IPv6 /64 has its own", () => {
    const sources = new Sources();
    const drain = (text: string) => {
      for (let i = 0; i < SOURCE_BURST; i++) sources.allow(parseIp(text), 0);
      return sources.allow(parseIp(text), 0);
    };
    expect(drain("192.0.2.1")).toBe(false);
    expect(sources.allow(parseIp("192.0.2.2"), 0)).toBe(true);
    expect(drain("2001:db8::1")).toBe(false);
    expect(sources.allow(parseIp("2001:db8::ffff:1"), 0)).toBe(false);
    expect(sources.allow(parseIp("2001:db8:0:1::1"), 0)).toBe(true);
    // The network ::c000:201/64 is not the address 192.0.2.1.
    expect(sources.allow(parseIp("0:0:c000:201::"), 0)).toBe(true);
  });

  test("no more than there is room for, and room again when buckets are full", () => {
    const sources = new Sources();
    const many = (count: number, nowMs: number, from = 0) => {
      let allowed = 0;
      for (let i = 0; i < count; i++) if (sources.allow(ip(4, BigInt(from + i)), nowMs)) allowed++;
      return allowed;
    };
    expect(many(MAX_SOURCES * 2, 0)).toBe(MAX_SOURCES);
    expect(sources.size).toBe(MAX_SOURCES);
    // One second later all have their tokens back and are forgotten.
    expect(many(10, 1_500, 1 << 20)).toBe(10);
    expect(sources.size).toBe(10);
  });

  test("looking for room is done once a second at most: sources whose buckets filled meanwhile wait for the next look", () => {
    const sources = new Sources();
    for (let i = 0; i < MAX_SOURCES; i++) sources.allow(ip(4, BigInt(i)), 1000);
    const stranger = ip(4, 1n << 24n);
    expect(sources.allow(stranger, 1001)).toBe(false);
    expect(sources.allow(stranger, 1999)).toBe(false);
    expect(sources.size).toBe(MAX_SOURCES);
    expect(sources.allow(stranger, 2001)).toBe(true);
    expect(sources.size).toBe(1);
  });
});
