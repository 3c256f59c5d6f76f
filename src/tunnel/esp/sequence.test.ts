import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { claimSequence, LAST_SEQUENCE, SEQUENCE_WORDS, sentPackets, storeSequence } from "./sequence.ts";

const { plain, extended } = LAST_SEQUENCE;

/** Memory of an association that has sent so many packets. */
function after(sent: number): Int32Array {
  const memory = new Int32Array(SEQUENCE_WORDS);
  memory[0] = sent % 2 ** 32;
  memory[1] = Math.floor(sent / 2 ** 31);
  return memory;
}

describe("sequence numbers", () => {
  test("the first is 1 (RFC 4303, section 2.2)", () => {
    const memory = new Int32Array(SEQUENCE_WORDS);
    expect([claimSequence(memory, 1, plain), claimSequence(memory, 46, plain)]).toEqual([1, 2]);
    expect(claimSequence(memory, 1, plain)).toBe(48);
    expect(sentPackets(memory)).toBe(48);
  });

  test("they go on from a number that was stored", () => {
    for (const next of [1, 2, 2 ** 31, 2 ** 31 + 1, 2 ** 32, 2 ** 32 + 1, 2 ** 40 + 5]) {
      const memory = new Int32Array(SEQUENCE_WORDS);
      storeSequence(memory, next);
      expect(sentPackets(memory)).toBe(next - 1);
      expect(claimSequence(memory, 3, extended)).toBe(next);
    }
  });

  test("without extension they end at 2^32 - 1, and never begin again (section 3.3.3)", () => {
    const memory = after(plain - 3);
    expect(claimSequence(memory, 4, plain)).toBe(-1);
    expect(claimSequence(memory, 2, plain)).toBe(plain - 2);
    expect(claimSequence(memory, 1, plain)).toBe(plain);
    for (let i = 0; i < 100; i++) expect(claimSequence(memory, 1 + i * 600, plain)).toBe(-1);
    expect(sentPackets(memory)).toBe(plain);
  });

  test("what several threads add beyond the end at once is lost, and nothing begins again", () => {
    // As if each had looked before any of the others added.
    const memory = after(plain);
    for (let i = 0; i < 20; i++) Atomics.add(memory, 0, 65_536);
    for (let i = 0; i < 70_000; i++)
      if (claimSequence(memory, 65_536, plain) !== -1) throw new Error("a number again");
    expect(sentPackets(memory)).toBe(plain + 20 * 65_536);
  });

  /** A count at whose first use somebody else does something: between the look and the claim. */
  function countWith(count: number, meanwhile: () => void): number {
    let first = true;
    const valueOf = () => {
      if (first) meanwhile();
      first = false;
      return count;
    };
    return { valueOf } as unknown as number;
  }

  test("one that is overtaken at the end gets nothing", () => {
    const memory = after(plain - 5);
    const other = () => expect(claimSequence(memory, 4, plain)).toBe(plain - 4);
    expect(claimSequence(memory, countWith(3, other), plain)).toBe(-1);
    expect(claimSequence(memory, 1, plain)).toBe(-1);
  });

  test("one that is overtaken by more than 2^32 claims again", () => {
    const memory = after(7);
    const others = () => memory.set(after(2 ** 32 + 7));
    // The first claim was made, and is lost.
    expect(claimSequence(memory, countWith(3, others), extended)).toBe(2 ** 32 + 11);
  });

  test("through six halves, in the largest steps", () => {
    const memory = after(0);
    for (let sent = 0; sent < 6 * 2 ** 31; sent += 65_535)
      if (claimSequence(memory, 65_535, extended) !== sent + 1) throw new Error(`after ${sent}`);
  });

  test.each([2 ** 31, 2 ** 32, 3 * 2 ** 31, 2 ** 33, 2 ** 40, 2 ** 52])("across %d", (boundary) => {
    const memory = after(boundary - 10);
    for (let next = boundary - 9; next < boundary + 20; next += 3)
      expect(claimSequence(memory, 3, extended)).toBe(next);
    // A claim that spans it.
    const other = after(boundary - 10);
    expect(claimSequence(other, 65_536, extended)).toBe(boundary - 9);
    expect(claimSequence(other, 1, extended)).toBe(boundary - 9 + 65_536);
  });

  test("extended they end where numbers are exact", () => {
    const memory = after(extended - 65_537);
    expect(claimSequence(memory, 65_536, extended)).toBe(extended - 65_536);
    expect(claimSequence(memory, 2, extended)).toBe(-1);
    expect(claimSequence(memory, 1, extended)).toBe(extended);
    expect(claimSequence(memory, 1, extended)).toBe(-1);
  });

  const seed = newSeed();
  test(`like a plain sum (SEED=${seed})`, () => {
    const random = new Random(seed);
    for (let round = 0; round < 50; round++) {
      let sent = random.pick([0, 2 ** 31 - 40_000, 2 ** 32 - 40_000, 2 ** 33 - 1, 2 ** 48 - 5]);
      const memory = after(sent);
      for (let i = 0; i < 300; i++) {
        const count = 1 + random.below(random.pick([1, 64, 65_536]));
        expect(claimSequence(memory, count, extended)).toBe(sent + 1);
        sent += count;
      }
    }
  });
});

test("threads that claim at once, across 2^32, get each number exactly once", async () => {
  const memory = new Int32Array(new SharedArrayBuffer(SEQUENCE_WORDS * 4));
  const before = 2 ** 32 - 300_000;
  memory.set(after(before));
  const claims = 20_000;
  const workers = Array.from(
    { length: 3 },
    () => new Worker(`${import.meta.dir}/../../../test/support/sequence-worker.ts`),
  );
  const results = await Promise.all(
    workers.map((worker) => {
      const { promise, resolve, reject } = Promise.withResolvers<Float64Array>();
      worker.onmessage = ({ data }) => resolve(data as Float64Array);
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage({ memory, claims });
      return promise;
    }),
  );
  for (const worker of workers) worker.terminate();
  const ranges = results
    .flatMap((list) => Array.from({ length: claims }, (_, i) => [list[2 * i], list[2 * i + 1]]))
    .sort(([a], [b]) => (a as number) - (b as number)) as [number, number][];
  let next = before + 1;
  for (const [first, count] of ranges) {
    // A gap may be left where a half ended; an overlap never.
    if (first < next) throw new Error(`${first} was given before`);
    next = first + count;
  }
  expect(ranges.length).toBe(3 * claims);
  expect(next - 1).toBe(sentPackets(memory));
  expect(next).toBeGreaterThan(2 ** 32);
}, 30_000);
