import { expect, test } from "bun:test";
import { failed, LAST_RETRY_MS, ready, retryDelayMs, statusOf, untried, waiting } from "./status.ts";

test("retries double from one second to one minute", () => {
  expect([1, 2, 3, 6, 7, 100].map(retryDelayMs)).toEqual([
    1000,
    2000,
    4000,
    32000,
    LAST_RETRY_MS,
    LAST_RETRY_MS,
  ]);
});

test("a state keeps its beginning while it lasts", () => {
  const first = failed(untried(5), "bad", 10);
  expect(first).toEqual({ state: "failed", reason: "bad", sinceMs: 10, failures: 1, nextTryMs: 1010 });
  expect(failed(first, "worse", 2000)).toEqual({
    state: "failed",
    reason: "worse",
    sinceMs: 10,
    failures: 2,
    nextTryMs: 4000,
  });
  const fine = ready(first, 3000);
  expect(fine).toEqual({ state: "ready", sinceMs: 3000, failures: 0 });
  expect(ready(fine, 9000)).toBe(fine);
});

test("what waits has no next try: it is woken", () => {
  expect(waiting(untried(5), "waits for link x", 10)).toEqual({
    state: "pending",
    reason: "waits for link x",
    sinceMs: 5,
    failures: 0,
  });
});

test("times are shown by the machine's clock as it goes now", () => {
  const condition = failed(untried(5), "bad", 10.4);
  expect(statusOf({ key: "link x", condition }, { scope: "s", wallOffsetMs: 1_000_000 })).toEqual({
    scope: "s",
    key: "link x",
    state: "failed",
    reason: "bad",
    sinceMs: 1_000_010,
    nextTryMs: 1_001_010,
  });
});
