import { expect, test } from "bun:test";
import { until } from "./wait.ts";

test("until asks again until nothing is missing", async () => {
  let calls = 0;
  await until(() => (++calls < 3 ? "more calls" : undefined), { what: "three calls" });
  expect(calls).toBe(3);
});

test("until says what was missing when it gives up", async () => {
  const hopeless = until(() => "a miracle", { what: "the end", deadlineMs: 0 });
  await expect(hopeless).rejects.toThrow("Gave up waiting for the end: a miracle");
});

test("until stops when it is told to", async () => {
  const stopped = until(() => "x", { what: "x", signal: AbortSignal.abort() });
  await expect(stopped).rejects.toThrow("Stopped before the end");
});
