import { expect, test } from "bun:test";
import { formatDurationMs, parseDurationMs } from "./duration.ts";

test("durations are read in four units and written in the largest that fits", () => {
  expect(["90s", "30m", "24h", "7d"].map(parseDurationMs)).toEqual([
    90_000, 1_800_000, 86_400_000, 604_800_000,
  ]);
  expect([90_000, 1_800_000, 86_400_000, 7_200_000].map(formatDurationMs)).toEqual([
    "90s",
    "30m",
    "1d",
    "2h",
  ]);
  for (const text of ["1s", "59s", "61m", "25h", "90d"])
    expect(formatDurationMs(parseDurationMs(text))).toBe(text);
  for (const text of ["", "5", "0s", "-1s", "1w", "1.5h", "10000000s"])
    expect(() => parseDurationMs(text)).toThrow("is not a duration");
});
