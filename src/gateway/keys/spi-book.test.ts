import { expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { SpiBook } from "./spi-book.ts";

const seed = newSeed();

test(`no SPI twice, none that is reserved, blocks in place (seed ${seed})`, () => {
  const random = new Random(seed);
  const book = new SpiBook((length) => random.bytes(length));
  const taken = new Map<number, number>();
  const all = new Set<number>();
  for (let n = 0; n < 5000; n++) {
    const [first, count] = random.pick([...taken].slice(0, 5).concat([[0, 0]]));
    if (count > 0 && random.chance(0.4)) {
      (count === 1 ? book.narrow : book.wide).release(first, count);
      taken.delete(first);
      for (let spi = first; spi < first + count; spi++) all.delete(spi);
      continue;
    }
    const size = random.pick([1, 1, 2, 64]);
    const got = (size === 1 ? book.narrow : book.wide).take(size) as number;
    expect(got % size).toBe(0);
    expect(got).toBeGreaterThanOrEqual(256);
    expect(got + size).toBeLessThanOrEqual(size === 1 ? 2 ** 16 : 2 ** 32);
    for (let spi = got; spi < got + size; spi++) {
      if (all.has(spi)) throw new Error(`SPI ${spi} twice`);
      all.add(spi);
    }
    taken.set(got, size);
  }
  expect(book.size).toBe(all.size);
});

test("all narrow SPIs can be taken, and then there is none", () => {
  const random = new Random(seed);
  const book = new SpiBook((length) => random.bytes(length));
  for (let n = 256; n < 65_536; n++)
    if (book.narrow.take(1) === undefined) throw new Error(`none after ${n}`);
  expect(book.narrow.take(1)).toBeUndefined();
  book.narrow.release(1000, 1);
  expect(book.narrow.take(1)).toBe(1000);
  expect(book.wide.take(64)).toBeDefined();
});
