import { expect, test } from "bun:test";
import { PongAllowance } from "./pong-allowance.ts";

test("twenty at once, twenty a second, each node for itself", () => {
  const pongs = new PongAllowance();
  const taken = (node: string, nowMs: number) => {
    let count = 0;
    while (pongs.take(node, nowMs)) count++;
    return count;
  };
  expect([taken("a", 0), taken("a", 0), taken("b", 0), taken("a", 500), taken("a", 60_000)]).toEqual([
    20, 0, 20, 10, 20,
  ]);
  pongs.keep(new Set(["b"]));
  expect([taken("a", 60_000), taken("b", 0)]).toEqual([20, 0]);
});
