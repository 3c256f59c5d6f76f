import { expect, test } from "bun:test";
import { followGeneration, PskAge } from "./psk-age.ts";

const DAY_MS = 86_400_000;

test("the age of a generation goes on, begins anew with the next, and with a clock that was ahead", () => {
  const first = followGeneration(undefined, 1, 5_000);
  expect(first).toEqual({ generation: 1, sinceMs: 5_000 });
  expect(followGeneration(first, 1, 9_000)).toBe(first);
  expect(followGeneration(first, 2, 9_000)).toEqual({ generation: 2, sinceMs: 9_000 });
  expect(followGeneration(first, 1, 4_000)).toEqual({ generation: 1, sinceMs: 4_000 });
});

test("keys that are too old are asked to be renewed, also after a restart; and again while they are not", () => {
  let text: string | undefined;
  const start = () => new PskAge({ text, save: (file) => (text = file) });
  const looks = (age: PskAge, wallMs: number, generation: number | undefined = 3) =>
    age.isDue({ generation, maxAgeMs: 30 * DAY_MS, wallMs, nowMs: wallMs });
  expect([looks(start(), 1_000), looks(start(), 30 * DAY_MS)]).toEqual([false, false]);
  const age = start();
  const dueMs = 30 * DAY_MS + 1_000;
  expect([looks(age, dueMs), looks(age, dueMs + 59_000), looks(age, dueMs + 60_000)]).toEqual([
    true,
    false,
    true,
  ]);
  // Another hub was quicker.
  expect(looks(age, dueMs + 200_000, 4)).toBe(false);
  expect(text).toBe(`4 ${dueMs + 200_000}\n`);
  expect(age.isDue({ generation: 4, maxAgeMs: undefined, wallMs: 1e15, nowMs: 1e15 })).toBe(false);
  expect(looks(new PskAge({ text: "nonsense", save: () => {} }), 1e15)).toBe(false);
});
