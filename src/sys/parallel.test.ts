import { expect, test } from "bun:test";
import { inParallel } from "./parallel.ts";

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
