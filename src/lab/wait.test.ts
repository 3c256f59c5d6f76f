import { expect, test } from "bun:test";
import { inParallel, until } from "./wait.ts";

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

test("inParallel keeps the order and the width", async () => {
  let running = 0;
  let most = 0;
  const results = await inParallel([5, 1, 3, 2, 4], 2, async (item) => {
    most = Math.max(most, ++running);
    await Bun.sleep(item);
    running--;
    return item * 10;
  });
  expect(results).toEqual([50, 10, 30, 20, 40]);
  expect(most).toBe(2);
});

test("inParallel throws the first failure when all have ended", async () => {
  const ended: number[] = [];
  const work = inParallel([1, 2, 3], 2, async (item) => {
    if (item === 1) throw new Error("one failed");
    await Bun.sleep(5);
    ended.push(item);
  });
  await expect(work).rejects.toThrow("one failed");
  await work.catch(() => {});
  expect(ended).toEqual([2]);
});
