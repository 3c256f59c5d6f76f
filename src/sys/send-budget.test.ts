import { expect, test } from "bun:test";
import { type Sender, SendBudget } from "./send-budget.ts";

class Connection implements Sender {
  waitingBytes = 0;
  given = false;
  readonly #budget: SendBudget;
  readonly #address: string;

  constructor(budget: SendBudget, address: string) {
    this.#budget = budget;
    this.#address = address;
  }

  wait(bytes: number): this {
    this.waitingBytes += bytes;
    this.#budget.note(this.#address, this, bytes);
    return this;
  }

  giveUp(): void {
    this.given = true;
    this.wait(-this.waitingBytes);
  }
}

test("an address may have so much waiting, over all of its connections: the one with most is given up", () => {
  const budget = new SendBudget({ ofOne: 100, inAll: 1_000 });
  const [one, two, other] = ["a", "a", "b"].map((address) => new Connection(budget, address)) as [
    Connection,
    Connection,
    Connection,
  ];
  one.wait(40);
  two.wait(60);
  other.wait(100);
  expect([one.given, two.given, other.given]).toEqual([false, false, false]);
  one.wait(1);
  expect([one.given, two.given, other.given, budget.bytes]).toEqual([false, true, false, 141]);
  other.wait(-100);
  one.wait(-41);
  expect(budget.bytes).toBe(0);
});

test("all together may have so much waiting: of the address with most, until it fits", () => {
  const budget = new SendBudget({ ofOne: 150, inAll: 200 });
  const honest = ["a", "b", "c", "d"].map((address) => new Connection(budget, address).wait(20));
  // Two connections each, none of which has as much waiting as an honest one.
  const greedy = ["x", "x", "y", "y", "y"].map((address) => new Connection(budget, address).wait(15));
  expect(budget.bytes).toBe(155);
  const last = new Connection(budget, "y").wait(60);
  expect(budget.bytes).toBeLessThanOrEqual(200);
  expect(honest.some(({ given }) => given)).toBe(false);
  expect([last, ...greedy].map(({ given }) => given)).toEqual([true, false, false, false, false, false]);
});
