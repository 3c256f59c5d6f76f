import { expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { ConsumerRing, ProducerRing, ringBytes, type RingPlace } from "./xdp-ring.ts";

const place = (entries: number, entryBytes: 8 | 16): RingPlace => ({
  entries,
  entryBytes,
  producer: 0,
  consumer: 64,
  flags: 68,
  entry: 128,
});

/** A ring of descriptors whose other side is played here, with indices that begin at `start`. */
function ring(entries: number, start: number, entryBytes: 8 | 16 = 16) {
  const where = place(entries, entryBytes);
  const memory = new ArrayBuffer(ringBytes(where));
  const words = new Int32Array(memory);
  words[0] = words[16] = start | 0;
  return { memory, words, where };
}

test.each([0, 2 ** 31 - 3, 2 ** 32 - 3])(
  "what is put arrives, also where indices wrap (from %d)",
  (start) => {
    const { memory, words, where } = ring(8, start);
    const producer = new ProducerRing(memory, where);
    const consumer = new ConsumerRing(memory, where);
    let [next, expected] = [1, 1];
    for (let round = 0; round < 10; round++) {
      const count = Math.min(producer.room(), 1 + (round % 5));
      for (let i = 0; i < count; i++) producer.putDescriptor(next * 2048, next++);
      expect(consumer.available()).toBe(next - count - expected);
      producer.submit();
      const available = consumer.available();
      expect(available).toBe(next - expected);
      const taken = available - (round % 2);
      for (let i = 0; i < taken; i++) {
        expect([consumer.address(i), consumer.length(i)]).toEqual([expected * 2048, expected]);
        expected++;
      }
      consumer.release(taken);
    }
    expect(words[0]).toBe((start + next - 1) | 0);
    expect([producer.garbled, consumer.garbled]).toEqual([0, 0]);
  },
);

test("a full ring has no room", () => {
  const { memory, where } = ring(4, 2 ** 32 - 2, 8);
  const producer = new ProducerRing(memory, where);
  for (let i = 0; i < 4; i++) producer.putAddress(i * 2048);
  expect(producer.room()).toBe(0);
  producer.submit();
  const consumer = new ConsumerRing(memory, where);
  expect([0, 1, 2, 3].map((i) => consumer.address(i))).toEqual([0, 2048, 4096, 6144]);
  consumer.release(3);
  expect(producer.room()).toBe(3);
});

const seed = newSeed();
test(`indices and addresses that cannot be are no entries (SEED=${seed})`, () => {
  const random = new Random(seed);
  const { memory, words, where } = ring(8, 0);
  const producer = new ProducerRing(memory, where);
  const consumer = new ConsumerRing(memory, where);
  for (let i = 0; i < 5000; i++) {
    words[0] = random.u32() | 0;
    words[16] = random.u32() | 0;
    // Ours is what we remember: what stands in the memory is not asked.
    const available = consumer.available();
    const room = producer.room();
    expect(available).toBe((words[0] as number) >= 0 && (words[0] as number) <= 8 ? (words[0] as number) : 0);
    expect(room >= 0 && room <= 8).toBe(true);
  }
  expect(consumer.garbled).toBeGreaterThan(4900);
  expect(producer.garbled).toBeGreaterThan(4900);
  words[32] = 4096;
  words[33] = 1;
  expect(consumer.address(0)).toBe(-1);
  words[33] = 0;
  words[32] = -4096;
  expect(consumer.address(0)).toBe(-1);
});

test("a ring must lie inside its memory; one that is forgotten leads nowhere", () => {
  const { memory, where } = ring(8, 0);
  expect(() => new ProducerRing(memory.slice(0, 200), where)).toThrow(RangeError);
  expect(() => new ProducerRing(memory, { ...where, entries: 6 })).toThrow("power of two");
  expect(() => new ProducerRing(memory, { ...where, flags: 4096 })).toThrow(RangeError);
  expect(() => new ProducerRing(memory, { ...where, producer: 2 })).toThrow(RangeError);
  const [producer, consumer] = [new ProducerRing(memory, where), new ConsumerRing(memory, where)];
  producer.putDescriptor(0, 60);
  for (const one of [producer, consumer]) one.forget();
  producer.submit();
  consumer.release(1);
  expect([producer.room(), consumer.available(), consumer.address(0)]).toEqual([0, 0, -1]);
  expect(new Int32Array(memory)[0]).toBe(0);
  expect(() => producer.needsWakeup).toThrow(RangeError);
});
