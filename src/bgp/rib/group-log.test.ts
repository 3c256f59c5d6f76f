import { expect, test } from "bun:test";
import { ALL, allBut, CHUNK_BYTES, ChunkPool, GroupLog, only, type Reader } from "./group-log.ts";

/** A message whose length is where BGP has it. */
function write(log: GroupLog, length: number, fill: number, condition: number = ALL): void {
  const out = log.room(length);
  const at = log.roomAt();
  out.fill(fill, at, at + length);
  out[at + 16] = length >>> 8;
  out[at + 17] = length;
  log.commit(length, condition);
}

/** First bytes of the messages that a reader gets, reading all. */
function read(log: GroupLog, reader: Reader, peer: number): number[] {
  const found: number[] = [];
  for (let bytes = log.peek(reader, peer); bytes !== undefined; bytes = log.peek(reader, peer)) {
    for (let at = 0; at < bytes.length; at += ((bytes[at + 16] as number) << 8) | (bytes[at + 17] as number))
      found.push(bytes[at] as number);
    log.advance(reader, bytes.length);
  }
  return found;
}

test("readers get what is for them, from where they came in", () => {
  const log = new GroupLog(new ChunkPool());
  const [one, two] = [log.tail(), log.tail()];
  write(log, 30, 1);
  write(log, 40, 2, allBut(1));
  write(log, 50, 3, only(1));
  const late = log.tail();
  write(log, 60, 4);
  expect(read(log, one, 1)).toEqual([1, 3, 4]);
  expect(read(log, two, 2)).toEqual([1, 2, 4]);
  expect(read(log, late, 3)).toEqual([4]);
});

test("what one peer skips does not cut what others read", () => {
  const log = new GroupLog(new ChunkPool());
  const reader = log.tail();
  for (let i = 0; i < 10; i++) write(log, 20 + i, i, allBut(7));
  expect(log.peek(reader, 1)?.length).toBe(245);
  expect(log.peek(log.tail(), 1)).toBeUndefined();
});

test("a message that was begun is ended before others", () => {
  const log = new GroupLog(new ChunkPool());
  const reader = log.tail();
  write(log, 100, 1);
  write(log, 50, 2);
  expect(log.messageRest(reader)).toBe(0);
  log.advance(reader, 30);
  expect(log.messageRest(reader)).toBe(70);
  log.advance(reader, 70);
  expect(log.messageRest(reader)).toBe(0);
  log.advance(reader, 1);
  expect(log.messageRest(reader)).toBe(49);
});

test("chunks that all have read go back, and the slowest reader holds the others", () => {
  const pool = new ChunkPool();
  const log = new GroupLog(pool);
  const [fast, slow] = [log.tail(), log.tail()];
  for (let i = 0; i < 100; i++) write(log, 4000, i);
  expect(pool.heldBytes).toBe(7 * CHUNK_BYTES);
  expect(read(log, fast, 1).length).toBe(100);
  expect([log.lag(fast), log.lag(slow), pool.heldBytes]).toEqual([0, 400_000, 7 * CHUNK_BYTES]);
  expect(read(log, slow, 2).length).toBe(100);
  expect(pool.heldBytes).toBe(CHUNK_BYTES);
});

test("a peer that leaves takes along what it has not read, and nothing of what comes later", () => {
  const pool = new ChunkPool();
  const log = new GroupLog(pool);
  const [stays, leaves] = [log.tail(), log.tail()];
  for (let i = 0; i < 40; i++) write(log, 4000, i);
  const rest = log.rest(leaves);
  for (let i = 40; i < 80; i++) write(log, 4000, i);
  expect(rest.lag(leaves)).toBe(160_000);
  expect(read(log, stays, 1).length).toBe(80);
  // The log holds its last chunk, and the rest three that the log has left.
  expect(pool.heldBytes).toBe(4 * CHUNK_BYTES);
  expect(read(rest, leaves, 2)).toEqual(Array.from({ length: 40 }, (_, i) => i));
  rest.leave(leaves);
  expect(pool.heldBytes).toBe(CHUNK_BYTES);
  log[Symbol.dispose]();
  expect(pool.heldBytes).toBe(0);
});
