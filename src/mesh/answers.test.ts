import { describe, expect, test } from "bun:test";
import { type Answers, spendAnswer, startAnswers } from "./answers.ts";

const RATE = { perSecond: 20, burst: 40 };

/** Pings of one peer, and who else knows them. */
class Driver {
  #answers: Answers = startAnswers(RATE, 0);

  ping(transaction: bigint, nowMs: number): boolean {
    const [answers, answered] = spendAnswer(this.#answers, { transaction, nowMs }, RATE);
    this.#answers = answers;
    return answered;
  }
}

describe("answers to pings", () => {
  test("pings that are played back do not use up what new ones need", () => {
    const driver = new Driver();
    const recorded = Array.from({ length: 500 }, (_, i) => 7_000n + BigInt(i));
    for (const [i, transaction] of recorded.entries()) expect(driver.ping(transaction, 1_000 * i)).toBe(true);
    let missed = 0;
    for (let step = 0; step < 1_000; step++) {
      const nowMs = 600_000 + 10 * step;
      for (const transaction of recorded.slice((step * 5) % 400, ((step * 5) % 400) + 10))
        driver.ping(transaction, nowMs);
      if (step % 20 === 0 && !driver.ping(7_500n + BigInt(step / 20), nowMs)) missed++;
    }
    expect(missed).toBe(0);
  });

  test("neither do those of an earlier life, once a ping of this one was answered", () => {
    const driver = new Driver();
    for (let i = 0; i < 100; i++) driver.ping(5n + BigInt(i), 1_000 * i);
    expect(driver.ping(1n << 50n, 200_000)).toBe(true);
    for (let i = 0; i < 100; i++) driver.ping(5n + BigInt(i), 200_001);
    for (let i = 1; i <= 20; i++) expect(driver.ping((1n << 50n) + BigInt(i), 200_002)).toBe(true);
  });

  test("a row goes on past its greatest number, and past packets that were lost", () => {
    const driver = new Driver();
    const last = (1n << 64n) - 2n;
    expect([last, last + 1n, 0n, 1n, 500n].map((one) => driver.ping(one, 0))).toEqual(Array(5).fill(true));
    for (let i = 0; i < 60; i++) driver.ping(400n, 0);
    expect([driver.ping(501n, 0), driver.ping(400n, 0)]).toEqual([true, false]);
  });

  test("the bound of each kind holds, whoever pings", () => {
    const driver = new Driver();
    let count = 0;
    for (let i = 0; i < 1_000; i++) if (driver.ping(BigInt(i), 0)) count++;
    // The first one begins the row.
    expect(count).toBe(41);
    for (let i = 0; i < 1_000; i++) if (driver.ping(BigInt(i * 2 ** 30), 0)) count++;
    expect(count).toBe(80);
    for (let i = 0; i < 1_000; i++) if (driver.ping(2_000n + BigInt(i), 500)) count++;
    expect(count).toBe(91);
  });
});
