import { expect, test } from "bun:test";
import { MOST_STANDSTILL_MS, waitedFor } from "./standstill.ts";

test("a ping is waited for longer by the time that passed since it was sent, and by 2 s in all at most", () => {
  const stood = (pings: Parameters<typeof waitedFor>[0], nowMs: number, forMs: number) =>
    waitedFor(pings, { nowMs, forMs }).map(({ stoodMs }) => stoodMs);
  expect(stood([{ sentMs: 100 }, { sentMs: 850 }, { sentMs: 1000 }], 1000, 300)).toEqual([300, 150, 0]);
  expect(stood([{ sentMs: 100, stoodMs: 40 }], 1000, 300)).toEqual([340]);
  expect(stood([{ sentMs: 100, stoodMs: 1_900 }, { sentMs: 0 }], 9_000, 5_000)).toEqual([
    MOST_STANDSTILL_MS,
    MOST_STANDSTILL_MS,
  ]);
});
