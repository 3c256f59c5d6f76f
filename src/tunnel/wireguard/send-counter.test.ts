import { expect, test } from "bun:test";
import type { ClaimWork } from "../../../test/support/claim-worker.ts";
import { claim, MOST_SENT } from "./send-counter.ts";

const MOST_AT_ONCE = 65_536;
const MOST_THREADS = 64;

/** A counter at which so many were sent. */
const after = (sent: number) => new Int32Array(new SharedArrayBuffer(4)).fill(sent);

test("the first is 0, and each claim begins where the one before ended", () => {
  const counter = after(0);
  expect([claim(counter, 1), claim(counter, 46), claim(counter, 1)]).toEqual([0, 1, 47]);
});

test("the last packet of a session is the one before the limit, and nothing comes after it", () => {
  const counter = after(MOST_SENT - 3);
  expect(claim(counter, 4)).toBe(-1);
  expect(claim(counter, 2)).toBe(MOST_SENT - 3);
  expect(claim(counter, 2)).toBe(-1);
  expect(claim(counter, 1)).toBe(MOST_SENT - 1);
  for (let i = 0; i < 1000; i++) expect(claim(counter, 1 + i)).toBe(-1);
  // A refusal takes nothing.
  expect(counter[0]).toBe(MOST_SENT);
});

test("a lower limit holds as well", () => {
  const counter = after(0);
  expect([
    claim(counter, 60, 100),
    claim(counter, 60, 100),
    claim(counter, 40, 100),
    claim(counter, 1, 100),
  ]).toEqual([0, -1, 60, -1]);
});

test("however many threads claim at the limit at once, it is never carried into the sign", () => {
  // Each has looked before any of the others added.
  const counter = after(MOST_SENT);
  for (let thread = 0; thread < MOST_THREADS; thread++) Atomics.add(counter, 0, MOST_AT_ONCE);
  expect(counter[0]).toBeGreaterThan(MOST_SENT);
  expect(claim(counter, 1)).toBe(-1);
});

test("one that is overtaken between its look and its claim gets nothing beyond the limit", () => {
  const counter = after(10);
  let first = true;
  const count = {
    valueOf: () => {
      // The first use of the count is the look.
      if (first) Atomics.add(counter, 0, 85);
      first = false;
      return 10;
    },
  } as unknown as number;
  expect(claim(counter, count, 100)).toBe(-1);
  expect(claim(counter, 1, 200)).toBe(105);
});

test("of several threads, none ever gets a number that another one has", async () => {
  const counter = after(0);
  const ready = after(0);
  const [threads, claims, most] = [3, 300_000, 20_000_000];
  const results = await Promise.all(
    Array.from({ length: threads }, async () => {
      const worker = new Worker(new URL("../../../test/support/claim-worker.ts", import.meta.url).href);
      const { promise, resolve, reject } = Promise.withResolvers<Float64Array>();
      worker.onmessage = ({ data }: MessageEvent<Float64Array>) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage({ counter, ready, threads, claims, most } satisfies ClaimWork);
      const claimed = await promise;
      worker.terminate();
      return claimed;
    }),
  );
  const taken = new Uint8Array(most);
  let refused = 0;
  for (const claimed of results)
    for (let i = 0; i < claims; i++) {
      const [first, count] = [claimed[2 * i] as number, claimed[2 * i + 1] as number];
      if (first < 0) refused++;
      else
        for (let number = first; number < first + count; number++)
          if (taken[number] === 1) throw new Error(`counter ${number} twice`);
          else taken[number] = 1;
    }
  // Both happened: the numbers, and their end.
  expect(refused).toBeGreaterThan(0);
  expect(taken.filter((times) => times === 1).length).toBeGreaterThan(most - threads * 46 * 2);
});
