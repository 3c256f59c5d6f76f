import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { MOST_PEERS, PEER, type Sender, SenderBudget, STRANGERS } from "./sender-budget.ts";

function sender(address: readonly number[], route = 1001): Sender {
  return { bytes: new Uint8Array(address), at: 0, length: address.length, route };
}

const peer = sender([203, 0, 113, 2]);

/** How many of so many are passed on. */
function passed(budget: SenderBudget, from: Sender, messages: number, nowMs = 0): number {
  let count = 0;
  for (let n = 0; n < messages; n++) if (budget.take(from, nowMs)) count++;
  return count;
}

const seed = newSeed();
describe(`messages that prove nothing yet (seed ${seed})`, () => {
  test("of strangers do not delay who was sent to, however many they are", () => {
    const random = new Random(seed);
    const budget = new SenderBudget();
    budget.sentTo(peer);
    for (let n = 0; n < 100_000; n++) budget.take(sender([...random.bytes(4)]), 0);
    expect(passed(budget, peer, 500)).toBe(500);
  });

  test("of one stranger are limited, and do not delay most others", () => {
    const budget = new SenderBudget();
    expect(passed(budget, peer, 1000)).toBe(STRANGERS.burst);
    expect(passed(budget, peer, 1000, 500)).toBe(STRANGERS.perSecond / 2);
    const others = Array.from({ length: 100 }, (_, n) => sender([10, 0, 0, n]));
    expect(others.filter((other) => budget.take(other, 500)).length).toBeGreaterThan(50);
  });

  test("of a peer are limited by route, of either family", () => {
    const budget = new SenderBudget();
    const six = sender([32, 1, 13, 184, ...new Array<number>(11).fill(0), 2]);
    for (const one of [peer, six]) {
      budget.sentTo(one);
      expect(passed(budget, one, 3000)).toBe(PEER.burst);
      const other = { ...one, route: 1002 };
      budget.sentTo(other);
      expect(passed(budget, other, 10)).toBe(10);
    }
  });

  test("are of a stranger again when very many others were sent to", () => {
    const budget = new SenderBudget();
    budget.sentTo(peer);
    for (let n = 0; n < MOST_PEERS + 50; n++) budget.sentTo(sender([10, 0, n >> 8, n & 255]));
    expect(passed(budget, peer, 1000)).toBe(STRANGERS.burst);
  });
});
