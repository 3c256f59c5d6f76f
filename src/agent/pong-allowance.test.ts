import { expect, test } from "bun:test";
import { PongAllowance } from "./pong-allowance.ts";

test("twenty at once, twenty a second, each node for itself; what is played back takes nothing from what is new", () => {
  const pongs = new PongAllowance();
  let transaction = 0n;
  const taken = (node: string, nowMs: number) => {
    let count = 0;
    while (pongs.take(node, { transaction: transaction++, nowMs })) count++;
    return count;
  };
  // The first ping of a node begins its row of transactions, and is not counted with those that go on in it.
  expect([taken("a", 0), taken("a", 0), taken("b", 0), taken("a", 500), taken("a", 60_000)]).toEqual([
    21, 0, 21, 10, 20,
  ]);
  pongs.keep(new Set(["b"]));
  expect([taken("a", 60_000), taken("b", 0)]).toEqual([21, 0]);

  for (let i = 0; i < 1_000; i++) pongs.take("a", { transaction: 3n, nowMs: 70_000 });
  expect(taken("a", 70_000)).toBe(20);
});
