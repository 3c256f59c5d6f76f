import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { FrameReader, FrameWriter, greeting, MOST_DATAGRAM_BYTES, PREAMBLE } from "./frame.ts";

/** What a writer puts into a stream that takes everything. */
function written(datagrams: readonly Uint8Array[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = new FrameWriter();
  const write = (head: Uint8Array, body: Uint8Array) => parts.push(head.slice(), body.slice()) > 0;
  for (const datagram of datagrams) writer.write({ write }, datagram);
  expect(writer.dropped).toBe(0);
  return new Uint8Array(Buffer.concat(parts));
}

/** Reads pieces, each in memory that is spoilt afterwards. */
function readAll(pieces: readonly Uint8Array[], greeted = false) {
  const datagrams: Uint8Array[] = [];
  const sessions: string[] = [];
  const reader = new FrameReader({
    datagram: (bytes) => datagrams.push(bytes.slice()),
    ...(greeted ? { greeted: (session: string) => void sessions.push(session) } : {}),
  });
  let fine = true;
  for (const piece of pieces) {
    const memory = piece.slice();
    fine &&= reader.read(memory);
    memory.fill(0xee);
  }
  return { datagrams, sessions, fine };
}

function cut(random: Random, bytes: Uint8Array, longest: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = random.below(longest + 1);
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

describe("datagrams in a stream", () => {
  const seed = newSeed();
  test(`come out as they went in, however the stream was cut (seed ${seed})`, () => {
    const random = new Random(seed);
    for (let round = 0; round < 60; round++) {
      const sizes = Array.from({ length: 1 + random.below(8) }, () =>
        random.below(6) === 0 ? 1 + random.below(MOST_DATAGRAM_BYTES) : 1 + random.below(64),
      );
      const datagrams = sizes.map((size) => random.bytes(size));
      const stream = new Uint8Array(
        Buffer.concat([greeting("00112233445566778899aabbccddeeff"), written(datagrams)]),
      );
      const { fine, sessions, ...read } = readAll(
        cut(random, stream, random.pick([1, 3, 60, 5000, 70_000])),
        true,
      );
      expect(fine).toBe(true);
      expect(sessions).toEqual(["00112233445566778899aabbccddeeff"]);
      expect(read.datagrams.length).toBe(datagrams.length);
      const same = read.datagrams.every(
        (datagram, i) => Buffer.compare(datagram, datagrams[i] as Uint8Array) === 0,
      );
      expect(same).toBe(true);
    }
  });

  test(`anything at all: a verdict, never an exception, and no datagram that is too long (seed ${seed})`, () => {
    const random = new Random(seed);
    let refused = 0;
    for (let round = 0; round < 2000; round++) {
      const bytes = random.bytes(random.below(400));
      if (random.below(2) === 0) bytes.set(PREAMBLE.subarray(0, Math.min(bytes.length, 8)));
      const { fine, datagrams } = readAll(cut(random, bytes, 1 + random.below(50)), random.below(2) === 0);
      for (const datagram of datagrams) expect(datagram.length).toBeLessThanOrEqual(MOST_DATAGRAM_BYTES);
      if (!fine) refused++;
    }
    expect(refused).toBeGreaterThan(100);
  });

  test("the longest datagram passes; a length of nothing and one that is longer are refused", () => {
    const longest = new Uint8Array(MOST_DATAGRAM_BYTES).fill(7);
    expect(readAll([written([longest])]).datagrams).toEqual([longest]);
    expect(readAll([Uint8Array.of(0, 0)]).fine).toBe(false);
    expect(readAll([Uint8Array.of(0), Uint8Array.of(0)]).fine).toBe(false);
    expect(readAll([Uint8Array.of(0xff, 0xff)]).fine).toBe(false);
    expect(
      readAll([Uint8Array.of((MOST_DATAGRAM_BYTES + 1) >> 8, (MOST_DATAGRAM_BYTES + 1) & 255)]).fine,
    ).toBe(false);
  });

  test("another protocol is refused by its first byte", () => {
    const text = new TextEncoder().encode("GET / HTTP/1.1\r\n");
    for (let length = 1; length < text.length; length++)
      expect(readAll([text.subarray(0, length)], true).fine).toBe(false);
    expect(readAll([PREAMBLE.subarray(0, 3)], true)).toEqual({ datagrams: [], sessions: [], fine: true });
  });

  test("a stream that takes nothing, and none at all: dropped and counted", () => {
    const writer = new FrameWriter();
    writer.write({ write: () => false }, Uint8Array.of(1));
    writer.write(undefined, Uint8Array.of(1));
    writer.write({ write: () => true }, new Uint8Array(0));
    writer.write({ write: () => true }, Uint8Array.of(1));
    expect([writer.written, writer.dropped]).toEqual([1, 3]);
  });
});
