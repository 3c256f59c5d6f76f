import { expect, test } from "bun:test";
import { WishAnswers } from "./wish-answers.ts";

/** Two neighbors that have said all they knew at first. */
function world() {
  let nowMs = 0;
  const answers = new WishAnswers(() => nowMs);
  const [one, two] = [{}, {}];
  for (const neighbor of [one, two]) {
    answers.up(neighbor);
    answers.endOfRib(neighbor);
  }
  answers.told();
  const wish = () => {
    const batch = answers.wish();
    answers.sent();
    return batch;
  };
  return { answers, one, two, wish, later: (ms: number) => (nowMs += ms) };
}

/** Guards against hanging only. */
const LONG = { patienceMs: 60_000 };

/** Whether a promise has resolved by now. */
const isOver = (promise: Promise<void>) =>
  Promise.race([promise.then(() => true), Bun.sleep(0).then(() => false)]);

test("a wish is answered when one of them has said End-of-RIB, and listeners know what came before it", async () => {
  const { answers, one, two, wish } = world();
  const batch = wish();
  const answered = answers.answered(batch, LONG);
  answers.told();
  expect(await isOver(answered)).toBe(false);
  answers.endOfRib(two);
  expect(answers.isAnswered(batch)).toBe(false);
  answers.told();
  await answered;
  expect(answers.isAnswered(batch)).toBe(true);
  // The other one's answer is to the same, not to the next.
  const next = wish();
  answers.endOfRib(one);
  answers.told();
  expect(answers.isAnswered(next)).toBe(false);
});

test("wishes of one slice of work are one batch; slices without any are none", () => {
  const { answers, one, wish } = world();
  const first = wish();
  answers.sent();
  answers.sent();
  expect(answers.wish()).toBe(answers.wish());
  answers.sent();
  answers.endOfRib(one);
  answers.told();
  expect([answers.isAnswered(first), answers.isAnswered(first + 1)]).toEqual([true, false]);
});

test("what was answered together with another one holds nobody up for ever", () => {
  const { answers, one, wish, later } = world();
  wish();
  const merged = wish();
  answers.endOfRib(one);
  answers.told();
  expect(answers.isAnswered(merged)).toBe(false);
  later(11_000);
  const last = wish();
  answers.endOfRib(one);
  answers.told();
  expect(answers.isAnswered(last)).toBe(true);
});

test("a late answer does not count for what was wished meanwhile", () => {
  const { answers, one, wish, later } = world();
  const slow = wish();
  later(1_200);
  const next = wish();
  later(100);
  answers.endOfRib(one);
  answers.told();
  expect([answers.isAnswered(slow), answers.isAnswered(next)]).toEqual([true, false]);
  answers.endOfRib(one);
  answers.told();
  expect(answers.isAnswered(next)).toBe(true);
});

test("the first table of a session answers all that was wished before", () => {
  const { answers, one, two } = world();
  const batch = answers.wish();
  for (const neighbor of [one, two]) answers.down(neighbor);
  answers.up(one);
  answers.sent();
  answers.endOfRib(one);
  answers.told();
  expect(answers.isAnswered(batch)).toBe(true);
});

test("where nobody is left to answer nobody waits", async () => {
  const { answers, one, two, wish } = world();
  const answered = answers.answered(wish(), LONG);
  answers.down(one);
  expect(await isOver(answered)).toBe(false);
  answers.down(two);
  await answered;
  await answers.answered(answers.wish(), LONG);
});

test("nobody waits longer than he has patience, and neighbors that never answer pile nothing up", async () => {
  const { answers, one, wish } = world();
  await answers.answered(wish(), { patienceMs: 1 });
  await answers.answered(wish(), { patienceMs: -1 });
  for (let i = 0; i < 100; i++) wish();
  // The oldest of those that are remembered is behind the first thirty.
  answers.endOfRib(one);
  answers.told();
  expect(answers.isAnswered(30)).toBe(true);
});
