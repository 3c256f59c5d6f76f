import { expect, test } from "bun:test";
import { monotonicMs, soon } from "../sys/mod.ts";
import { Slices } from "./slices.ts";

/** Keeps the processor for longer than a slice. */
function work(): void {
  for (const end = monotonicMs() + 20; monotonicMs() < end;);
}

test("what is longer than a slice goes on in later turns of the event loop, in order", async () => {
  const slices = new Slices();
  let turns = 0;
  let next: Disposable | undefined;
  const count = () => {
    turns++;
    next = soon(count);
  };
  count();
  const done: string[] = [];
  const at: number[] = [];
  const piece = (name: string) =>
    slices.do(() => {
      at.push(turns);
      work();
      done.push(name);
    });
  await Promise.all(["one", "two", "three"].map(piece));
  next?.[Symbol.dispose]();
  expect(done).toEqual(["one", "two", "three"]);
  expect(new Set(at).size).toBe(3);
});

test("who waits for each piece before asking for the next gives way too", async () => {
  const slices = new Slices();
  let turns = 0;
  for (let i = 0; i < 3; i++) {
    soon(() => turns++);
    await slices.do(work);
  }
  expect(turns).toBeGreaterThanOrEqual(2);
});

test("what fails is told to who asked, and the rest is done", async () => {
  const slices = new Slices();
  const failed = slices.do(() => {
    throw new Error("no");
  });
  expect(await slices.do(() => Promise.resolve(7))).toBe(7);
  expect(failed).rejects.toThrow("no");
});
