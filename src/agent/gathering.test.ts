import { expect, test } from "bun:test";
import { Gathering } from "./gathering.ts";

test("work that took a while is not begun again for as long, and not for ever", () => {
  let nowMs = 1_000;
  const gathering = new Gathering(() => nowMs);
  let done = 0;
  const work = (tookMs: number) => () => {
    done++;
    nowMs += tookMs;
  };
  gathering.run(work(0));
  gathering.run(work(30));
  expect([done, gathering.nextMs]).toEqual([2, 1_060]);
  nowMs = 1_059;
  gathering.run(work(30));
  expect(done).toBe(2);
  nowMs = 1_060;
  gathering.run(work(5_000));
  expect([done, gathering.nextMs]).toEqual([3, 6_160]);
});

test("what fails counts as well", () => {
  let nowMs = 0;
  const gathering = new Gathering(() => nowMs);
  const fails = () => {
    nowMs += 10;
    throw new Error("weather");
  };
  expect(() => gathering.run(fails)).toThrow("weather");
  expect(gathering.nextMs).toBe(20);
});
