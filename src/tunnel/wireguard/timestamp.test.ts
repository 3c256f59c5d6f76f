import { expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { encodeMoment, isLater, type Moment, nextMoment } from "./timestamp.ts";

const hex = (moment: Moment) => Buffer.from(encodeMoment(moment)).toString("hex");

test("cr.yp.to/libtai/tai64.html: 1992-06-02 08:07:09 TAI is 400000002a2b2c2d", () => {
  // 10 seconds are added for UTC as it was in 1972; this label is a moment of TAI.
  const seconds = Date.UTC(1992, 5, 2, 8, 7, 9) / 1000 - 10;
  expect(hex({ seconds, nanoseconds: 0 })).toBe("400000002a2b2c2d00000000");
});

test("the present is cut to 2^24 nanoseconds", () => {
  expect(nextMoment(1_700_000_000_000)).toEqual({ seconds: 1_700_000_000, nanoseconds: 0 });
  expect(nextMoment(1_700_000_000_016)).toEqual({ seconds: 1_700_000_000, nanoseconds: 0 });
  expect(nextMoment(1_700_000_000_017)).toEqual({ seconds: 1_700_000_000, nanoseconds: 2 ** 24 });
  expect(nextMoment(1_700_000_000_999.9)).toEqual({ seconds: 1_700_000_000, nanoseconds: 59 * 2 ** 24 });
  expect(nextMoment(-5)).toEqual({ seconds: 0, nanoseconds: 0 });
});

const seed = newSeed();
test(`each is later than the one before, whatever the clock does (seed ${seed})`, () => {
  const random = new Random(seed);
  let wallMs = 1_700_000_000_000;
  let last: Moment | undefined;
  for (let i = 0; i < 5000; i++) {
    wallMs += random.pick([0, 1, 20, 5000, -1, -3600_000, 86_400_000, -86_400_000, random.below(100_000)]);
    const next = nextMoment(wallMs, last);
    expect(next.nanoseconds).toBeLessThan(1e9);
    if (last !== undefined) {
      expect(isLater(encodeMoment(next), encodeMoment(last))).toBe(true);
      expect(isLater(encodeMoment(last), encodeMoment(next))).toBe(false);
    }
    expect(isLater(encodeMoment(next), encodeMoment(next))).toBe(false);
    last = next;
  }
});
