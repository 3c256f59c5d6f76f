import { describe, expect, test } from "bun:test";
import {
  buildPacket,
  parsePacket,
  superPacket,
  type TestPacket,
  virtioBytes,
} from "../../../test/support/packets.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import { Arena } from "../../sys/mod.ts";
import { checksumOf, slowChecksum } from "./checksum.ts";
import { Segmenter } from "./segment.ts";

const arena = new Arena({ bytes: 1 << 20 });
const READ = 4096;
const WRITE = 256 * 1024;
const segmenter = new Segmenter(arena, checksumOf(arena));

/** Packets that the segmenter makes of what was read from TUN. */
function segments(read: Uint8Array, by = segmenter): Uint8Array[] {
  arena.store(READ, read);
  const count = by.begin(READ, read.length);
  return Array.from({ length: count }, (_, i) => {
    const bytes = by.bytes(i);
    arena.u8.fill(0xee, WRITE - 1, WRITE + bytes + 1);
    by.write(i, WRITE);
    expect([arena.u8[WRITE - 1], arena.u8[WRITE + bytes]]).toEqual([0xee, 0xee]);
    return arena.copy(WRITE, bytes);
  });
}

function randomPacket(random: Random, payloadBytes: number): TestPacket {
  return {
    family: random.pick([4, 6] as const),
    protocol: random.pick(["tcp", "udp"] as const),
    source: random.below(256),
    target: random.below(256),
    sourcePort: random.below(65536),
    targetPort: random.below(65536),
    payload: random.bytes(payloadBytes),
    ttl: random.below(256),
    service: random.below(256),
    id: random.below(65536),
    dontFragment: random.chance(0.5),
    sequence: random.u32(),
    acknowledgement: random.u32(),
    flags: random.below(256),
    window: random.below(65536),
    options: random.bytes(4 * random.below(11)),
  };
}

describe("segmenter", () => {
  const seed = newSeed();

  test(`segments have the payload in order, and headers as the kernel makes them (SEED=${seed})`, () => {
    const random = new Random(seed);
    for (let round = 0; round < 150; round++) {
      const whole = randomPacket(random, 1 + random.below(random.pick([3, 100, 3000, 20000])));
      const segmentBytes = 1 + random.below(random.pick([2, 20, 1500]));
      const slow = random.chance(0.2) ? new Segmenter(arena, slowChecksum(arena)) : segmenter;
      const bytes = segments(superPacket(whole, segmentBytes), slow);
      // Parsing checks lengths and checksums.
      const parsed = bytes.map(parsePacket);
      expect(parsed.length).toBe(Math.ceil(whole.payload.length / segmentBytes));
      parsed.forEach((packet, i) => {
        const first = i * segmentBytes;
        const last = i === parsed.length - 1;
        expect(packet.payload).toEqual(whole.payload.slice(first, first + segmentBytes));
        for (const name of [
          "family",
          "protocol",
          "source",
          "target",
          "sourcePort",
          "targetPort",
          "ttl",
          "service",
        ] as const)
          expect(packet[name]).toBe(whole[name] as never);
        if (whole.family === 4) {
          expect(packet.id).toBe(((whole.id as number) + i) & 0xffff);
          expect(packet.dontFragment).toBe(whole.dontFragment as boolean);
        }
        if (whole.protocol === "udp") return expect(packet.checksum).not.toBe(0);
        expect(packet.sequence).toBe(((whole.sequence as number) + first) >>> 0);
        expect(packet.acknowledgement).toBe(whole.acknowledgement as number);
        expect(packet.window).toBe(whole.window as number);
        expect(packet.options).toEqual(whole.options as Uint8Array);
        let flags = whole.flags as number;
        if (!last) flags &= ~0x09;
        if (i > 0) flags &= ~0x80;
        expect(packet.flags).toBe(flags);
      });
    }
  });

  test(`a single packet gets the checksum that was left open (SEED=${seed})`, () => {
    const random = new Random(seed + 1);
    for (let round = 0; round < 200; round++) {
      const packet = randomPacket(random, random.below(1500));
      expect(segments(superPacket(packet))).toEqual([buildPacket(packet)]);
    }
  });

  test("a complete packet is left alone, whatever it is", () => {
    const random = new Random(seed + 2);
    for (const first of [0x45, 0x4f, 0x60])
      for (const length of [40, 41, 1420, 65535]) {
        const packet = random.bytes(length);
        packet[0] = first;
        expect(segments(new Uint8Array([...virtioBytes(), ...packet]))).toEqual([packet]);
      }
  });

  test("a UDP sum of zero is sent as ones (RFC 768)", () => {
    const packet: TestPacket = {
      family: 4,
      protocol: "udp",
      source: 1,
      target: 2,
      sourcePort: 0,
      targetPort: 0,
      payload: new Uint8Array(2),
    };
    const sum = parsePacket(buildPacket(packet)).checksum;
    const zero = { ...packet, payload: new Uint8Array([sum >> 8, sum & 255]) };
    expect(parsePacket(segments(superPacket(zero))[0] as Uint8Array).checksum).toBe(0xffff);
    const twice = { ...zero, payload: new Uint8Array([...zero.payload, ...zero.payload]) };
    expect(segments(superPacket(twice, 2)).map((bytes) => parsePacket(bytes).checksum)).toEqual([
      0xffff, 0xffff,
    ]);
  });

  const good = superPacket(
    {
      family: 4,
      protocol: "tcp",
      source: 1,
      target: 2,
      sourcePort: 1,
      targetPort: 2,
      payload: new Uint8Array(3000),
    },
    1000,
  );
  const with_ = (place: number, value: number, from = good) => {
    const bytes = from.slice();
    bytes[place] = value;
    return bytes;
  };
  test.each([
    ["nothing", new Uint8Array(0)],
    ["only a virtio header", good.slice(0, 10)],
    ["half an IPv4 header", good.slice(0, 29)],
    ["half an IPv6 header", new Uint8Array([...virtioBytes(), 0x60, ...new Uint8Array(38)])],
    ["neither 4 nor 6", with_(10, 0x55)],
    ["a segment size of 0", with_(5, 0, with_(4, 0))],
    ["a type that was not asked for", with_(1, 3)],
    ["a type of the other family", with_(1, 4)],
    ["segments without an open checksum", with_(0, 0)],
    ["no payload", good.slice(0, 50)],
    ["half a TCP header", good.slice(0, 49)],
    ["a TCP header that is too short", with_(10 + 20 + 12, 0x40)],
    ["a TCP header longer than the packet", with_(10 + 20 + 12, 0xf0, good.slice(0, 60))],
    ["a checksum that starts inside of the IP header", with_(6, 16)],
    ["a checksum that starts behind the end", with_(7, 0xff)],
    ["a checksum field behind the end", with_(9, 0xff, with_(1, 0))],
    ["a length of the IP header that is too short", with_(10, 0x44)],
  ])("refused: %s", (_, bytes) => {
    arena.store(READ, bytes);
    expect(segmenter.begin(READ, bytes.length)).toBe(0);
  });

  test(`random and mutated packets give packets or nothing, never an error (SEED=${seed})`, () => {
    const random = new Random(seed + 3);
    let refused = 0;
    for (let round = 0; round < 3000; round++) {
      const bytes = random.mutate(
        random.chance(0.5)
          ? good
          : superPacket(randomPacket(random, random.below(200)), 1 + random.below(99)),
      );
      arena.store(READ, bytes);
      const count = segmenter.begin(READ, bytes.length);
      if (count === 0) refused++;
      let total = 0;
      for (let i = 0; i < count; i++) {
        const length = segmenter.bytes(i);
        expect(length > 0 && length <= bytes.length).toBe(true);
        segmenter.write(i, WRITE);
        total += length;
      }
      expect(total).toBeLessThanOrEqual(bytes.length * 66);
    }
    expect(refused).toBeGreaterThan(100);
  });
});
