import { expect, test } from "bun:test";
import { SharedWork } from "./shared-work.ts";

test("one at a time; all who wait share the next one, and nobody gets what began before he asked", async () => {
  const shared = new SharedWork();
  let [begun, most, now] = [0, 0, 0];
  const work = async () => {
    const number = ++begun;
    most = Math.max(most, ++now);
    await Bun.sleep(5);
    now--;
    return number;
  };
  const answers = await Promise.all(Array.from({ length: 50 }, () => shared.ask("plan", work)));
  expect(answers).toEqual([1, ...Array(49).fill(2)]);
  expect([begun, most]).toEqual([2, 1]);
  expect(await shared.ask("plan", work)).toBe(3);
  // Another kind does not wait.
  expect(await Promise.race([shared.ask("plan", work), shared.ask("hub-list", () => "list")])).toBe("list");
});

test("what fails fails for those who asked for it", async () => {
  const shared = new SharedWork();
  const fail = () => {
    throw new Error("no");
  };
  await expect(shared.ask("plan", fail)).rejects.toThrow("no");
  expect(await shared.ask("plan", () => 1)).toBe(1);
});
