/** ESP through both steps of the packet path, in memory; node:crypto is the witness of what is on the wire. */
import { describe, expect, test } from "bun:test";
import {
  EspPair,
  type EspPairOptions,
  handOpen,
  handSeal,
  keyMaterial,
  trailed,
} from "../../../test/support/esp-memory.ts";
import { ipsecMbFolders } from "../../../test/support/ipsec-mb.ts";
import {
  buildPacket,
  parsePacket,
  superPacket,
  type TestPacket,
  virtioBytes,
} from "../../../test/support/packets.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import { Arena } from "../../sys/mod.ts";
import { aeadNames, openAead } from "../path/mod.ts";

const base: TestPacket = {
  family: 4,
  protocol: "udp",
  source: 1,
  target: 2,
  sourcePort: 1000,
  targetPort: 2000,
  payload: new Uint8Array(100).fill(7),
  // So that runs of equal packets are not joined.
  withoutChecksum: true,
};
const plain = (packet: Uint8Array) => new Uint8Array([...virtioBytes(), ...packet]);
const arrived = (pair: EspPair) => pair.far.take().map((bytes) => bytes.slice(10));

/** The frames that wait, copied. */
function frames({ arena, port }: EspPair): Uint8Array<ArrayBuffer>[] {
  return Array.from({ length: port.count }, (_, i) => i).flatMap((i) => {
    const [at, bytes, size] = [port.at(i), port.bytes(i), port.segmentBytes(i)];
    return Array.from({ length: Math.ceil(bytes / size) }, (__, j) =>
      arena.copy(at + j * size, Math.min(size, bytes - j * size)),
    );
  });
}

/** Seals packets and returns the frames; far sees none of them. */
function sealed(pair: EspPair, ...packets: readonly Uint8Array[]): Uint8Array<ArrayBuffer>[] {
  pair.near.clear();
  pair.near.put(...packets.map(plain));
  const all: Uint8Array<ArrayBuffer>[] = [];
  do {
    pair.seal.run();
    all.push(...frames(pair));
    pair.port.received();
  } while (pair.near.left > 0);
  return all;
}

const there = aeadNames.filter((name) => {
  try {
    return openAead(name, new Arena({ bytes: 4 << 20 }), ipsecMbFolders()) !== undefined;
  } catch {
    return false;
  }
});
const kinds = there.flatMap((aead) =>
  (["aes-128-gcm", "aes-256-gcm"] as const).flatMap((algorithm) =>
    [true, false].map((extended) => [aead, algorithm, extended ? "ESN" : "32 bits", extended] as const),
  ),
);

describe.each(kinds)("%s, %s, sequence numbers: %s", (aead, algorithm, _, extended) => {
  const options: EspPairOptions = { aead, algorithm, extended };

  test("packets of all sizes arrive, and node:crypto reads them (RFC 4303, RFC 4106)", () => {
    const pair = new EspPair(options);
    for (let length = 28; length < 1500; length += length < 200 ? 1 : 37)
      for (const family of [4, 6] as const) {
        if (length < 48) continue;
        const header = family === 4 ? 28 : 48;
        const packet = buildPacket({
          ...base,
          family,
          payload: new Uint8Array(length - header).fill(length),
        });
        pair.near.clear();
        pair.near.put(plain(packet));
        pair.exchange(() => {
          const [frame] = frames(pair) as [Uint8Array];
          expect(frame.length).toBe(16 + Math.ceil((length + 2) / 4) * 4 + 16);
          const sequence = BigInt(pair.outbound.sent);
          const head = new DataView(frame.buffer);
          expect([head.getUint32(0), BigInt(head.getUint32(4))]).toEqual([0x100, sequence]);
          const text = handOpen(frame, {
            algorithm,
            keyMaterial: keyMaterial(algorithm),
            spi: 0x100,
            sequence,
            extended,
          });
          expect([...text]).toEqual([...trailed(packet, family === 4 ? 4 : 41)]);
        });
        expect(arrived(pair)).toEqual([packet]);
      }
  });

  test("what node:crypto sealed arrives", () => {
    const pair = new EspPair(options);
    const packet = buildPacket({ ...base, family: 6 });
    const by = { algorithm, keyMaterial: keyMaterial(algorithm), spi: 0x100, extended };
    pair.deliver(handSeal({ ...by, sequence: 5n, text: trailed(packet, 41) }));
    expect(arrived(pair)).toEqual([packet]);
    // More padding, and padding with other bytes, as Vita has it.
    pair.deliver(
      handSeal({ ...by, sequence: 7n, text: trailed(packet, 41, 256) }),
      handSeal({ ...by, sequence: 6n, text: new Uint8Array([...packet, 0, 0, 2, 41]) }),
    );
    expect(arrived(pair)).toEqual([packet, packet]);
    expect(pair.counters).toMatchObject({ forged: 0, replayed: 0, malformed: 0 });
  });

  test("any wrong bit is noticed, and changes nothing", () => {
    const pair = new EspPair(options);
    const packet = buildPacket({ ...base, payload: new Uint8Array(9) });
    const [frame] = sealed(pair, packet) as [Uint8Array<ArrayBuffer>];
    for (let i = 4; i < frame.length; i++) {
      const wrong = frame.slice();
      wrong[i] = (wrong[i] as number) ^ (1 << (i & 7));
      pair.deliver(wrong);
    }
    expect(arrived(pair)).toEqual([]);
    expect(pair.counters.forged + pair.counters.unknown).toBe(frame.length - 4);
    expect(pair.counters.forged).toBeGreaterThan(frame.length - 8);
    expect(pair.inbound.window.next[0]).toBe(0);
    pair.deliver(frame.subarray(0, -4), frame);
    expect(arrived(pair)).toEqual([packet]);
  });
});

describe("ESP through the path", () => {
  test.each([
    ["IPv4 TCP", {}],
    ["IPv6 TCP", { family: 6 }],
    ["IPv4 UDP", { protocol: "udp" }],
    ["IPv6 UDP", { family: 6, protocol: "udp" }],
  ] as [string, Partial<TestPacket>][])("a super-packet of %s arrives as one", (_, changes) => {
    const pair = new EspPair();
    const payload = Uint8Array.from({ length: 50_000 }, (__, i) => i % 251);
    const read = superPacket(
      { ...base, protocol: "tcp", sequence: 1, withoutChecksum: false, ...changes, payload },
      1300,
    );
    pair.near.put(read);
    pair.exchange();
    expect(arrived(pair)).toEqual([read.slice(10)]);
    expect([pair.outbound.sent, pair.opened]).toEqual([39, 1]);
  });

  test("TFC: all frames are equally long, and what was added does not arrive", () => {
    const pair = new EspPair({ tfcBytes: 1440 });
    const packets = [4, 6].flatMap((family) =>
      [0, 1, 500, 1000].map((length) =>
        buildPacket({ ...base, family: family as 4 | 6, payload: new Uint8Array(length).fill(3) }),
      ),
    );
    const all = sealed(pair, ...packets);
    expect(new Set(all.map(({ length }) => length))).toEqual(new Set([1476]));
    all.forEach((frame, i) => {
      const text = handOpen(frame, {
        algorithm: "aes-128-gcm",
        keyMaterial: keyMaterial("aes-128-gcm"),
        spi: 0x100,
        sequence: BigInt(i + 1),
        extended: true,
      });
      const packet = packets[i] as Uint8Array;
      expect(text.subarray(packet.length, 1440).every((byte) => byte === 0)).toBe(true);
    });
    pair.deliver(...all);
    expect(arrived(pair)).toEqual(packets);
    // Changed under way: the numbers go on.
    pair.framing.tfcBytes = 0;
    expect(sealed(pair, ...packets.slice(0, 1))[0]?.length).toBe(64);
    expect(pair.outbound.sent).toBe(9);
  });

  test("dummy packets are dropped, wherever they are (RFC 4303, section 2.6)", () => {
    const pair = new EspPair();
    const by = {
      algorithm: "aes-128-gcm",
      keyMaterial: keyMaterial("aes-128-gcm"),
      spi: 0x100,
      extended: true,
    } as const;
    const packet = buildPacket(base);
    pair.deliver(
      handSeal({ ...by, sequence: 1n, text: trailed(new Uint8Array(200), 59) }),
      handSeal({ ...by, sequence: 2n, text: trailed(packet, 4) }),
      handSeal({ ...by, sequence: 3n, text: trailed(packet, 59) }),
    );
    expect(arrived(pair)).toEqual([packet]);
    expect(pair.counters.malformed).toBe(0);
  });

  test("authentic, but nothing that belongs into a tunnel", () => {
    const pair = new EspPair();
    const by = {
      algorithm: "aes-128-gcm",
      keyMaterial: keyMaterial("aes-128-gcm"),
      spi: 0x100,
      extended: true,
    } as const;
    const [four, six] = [buildPacket(base), buildPacket({ ...base, family: 6 })];
    const texts = [
      trailed(four, 41),
      trailed(six, 4),
      trailed(four, 42),
      trailed(new Uint8Array(0), 4),
      new Uint8Array([...four, 0, 255, 4]),
      trailed(four.slice(0, 19), 4),
      trailed(six.slice(0, 39), 41),
      // Longer than what is there, by its own header.
      trailed(
        four.map((byte, i) => (i === 3 ? byte + 1 : byte)),
        4,
      ),
    ];
    texts.forEach((text, i) => pair.deliver(handSeal({ ...by, sequence: BigInt(i + 1), text })));
    expect(arrived(pair)).toEqual([]);
    expect(pair.counters).toMatchObject({ malformed: texts.length, forged: 0, replayed: 0 });
  });

  test("from an address that the peer may not use", () => {
    const pair = new EspPair();
    pair.farTables.allowed4.insert({ bytes: new Uint8Array([10, 0, 0, 1]), length: 32 }, 8);
    pair.deliver(...sealed(pair, buildPacket(base), buildPacket({ ...base, source: 3 })));
    expect(arrived(pair)).toEqual([buildPacket({ ...base, source: 3 })]);
    expect(pair.counters.refusedSource).toBe(1);
  });

  test("keepalives, messages of a key exchange and rubbish go to others; unknown SPIs to nobody (RFC 3948)", () => {
    const pair = new EspPair();
    const others = [new Uint8Array([0xff]), new Uint8Array(100), new Uint8Array(35).fill(1)];
    pair.deliver(...others);
    expect(pair.others).toEqual(others);
    const [frame] = sealed(pair, buildPacket(base)) as [Uint8Array];
    frame[3] = 1;
    pair.deliver(frame);
    expect(pair.counters.unknown).toBe(1);
    expect(pair.others.length).toBe(3);
  });
});

describe("sequence numbers on the wire", () => {
  test("a flow across 2^32 and 2^33 goes on, with losses and out of order", () => {
    for (const sent of [2 ** 32 - 20, 2 ** 33 - 20]) {
      const pair = new EspPair({ windowSize: 64 });
      pair.sendFrom(sent);
      const packets = Array.from({ length: 60 }, (_, i) =>
        buildPacket({ ...base, payload: new Uint8Array([i]) }),
      );
      const all = sealed(pair, ...packets);
      // To begin with, the receiver has to be where the sender is.
      pair.inbound.window.next[0] = sent - 10;
      const order = [0, 1, 5, 3, 4, 2, 30, 25, 18, 19, 20, 21, 22, 17, 59];
      for (const i of order) pair.deliver(all[i] as Uint8Array);
      expect(arrived(pair)).toEqual(order.map((i) => packets[i] as Uint8Array<ArrayBuffer>));
      for (const i of order) pair.deliver(all[i] as Uint8Array);
      expect(pair.counters).toMatchObject({ replayed: order.length, forged: 0 });
      expect(pair.inbound.window.next[0]).toBe(sent + 61);
    }
  });

  test("one that is behind the window is not authentic any more: its upper half is taken for the next", () => {
    const pair = new EspPair({ windowSize: 32 });
    const all = sealed(pair, ...Array.from({ length: 50 }, () => buildPacket(base)));
    for (const i of [49, 18, 17]) pair.deliver(all[i] as Uint8Array);
    expect(pair.counters).toMatchObject({ forged: 1, replayed: 0 });
    expect(arrived(pair).length).toBe(2);
  });

  test("without extension it is a replay", () => {
    const pair = new EspPair({ windowSize: 32, extended: false });
    const all = sealed(pair, ...Array.from({ length: 50 }, () => buildPacket(base)));
    pair.deliver(all[49] as Uint8Array, all[18] as Uint8Array, all[17] as Uint8Array);
    expect(pair.counters).toMatchObject({ forged: 0, replayed: 1 });
    expect(arrived(pair).length).toBe(2);
  });

  test("without extension nothing is sealed after 2^32 - 1 packets, not even a part of a packet", () => {
    const pair = new EspPair({ extended: false });
    pair.sendFrom(2 ** 32 - 3);
    pair.near.put(
      superPacket({ ...base, protocol: "tcp", sequence: 1, payload: new Uint8Array(4000) }, 1000),
    );
    pair.near.put(plain(buildPacket(base)), plain(buildPacket(base)), plain(buildPacket(base)));
    const seen: number[] = [];
    pair.exchange(() => {
      for (const frame of frames(pair)) seen.push(new DataView(frame.buffer).getUint32(4));
    });
    expect(seen).toEqual([2 ** 32 - 2, 2 ** 32 - 1]);
    expect(pair.counters.exhausted).toBe(2);
  });

  test("after its end an association neither seals nor opens", () => {
    const pair = new EspPair();
    const [frame] = sealed(pair, buildPacket(base)) as [Uint8Array];
    const ends = { value: 1000 };
    for (const association of [pair.outbound, pair.inbound])
      Object.defineProperty(association, "endsMs", ends);
    pair.nearTables.nowMs = pair.farTables.nowMs = 1000;
    expect(sealed(pair, buildPacket(base))).toEqual([]);
    pair.deliver(frame);
    expect(arrived(pair)).toEqual([]);
    pair.farTables.nowMs = 999;
    pair.deliver(frame);
    expect(arrived(pair).length).toBe(1);
    expect(pair.counters).toMatchObject({ unready: 1, unknown: 1 });
  });
});

const seed = newSeed();
test(`mutated and foreign packets change nothing, and the flow goes on (SEED=${seed})`, () => {
  const random = new Random(seed);
  const pair = new EspPair({ windowSize: 128 });
  for (let round = 0; round < 300; round++) {
    const packet = buildPacket({ ...base, payload: random.bytes(random.below(200)) });
    const [frame] = sealed(pair, packet) as [Uint8Array];
    const wrong = () => (random.chance(0.5) ? random.mutate(frame) : random.bytes(1 + random.below(300)));
    const before = Array.from({ length: random.below(4) }, wrong);
    const after = Array.from({ length: random.below(4) }, wrong);
    pair.deliver(...[...before, frame, ...after].filter((bytes) => bytes.length > 0));
    const got = arrived(pair);
    expect(got.length).toBe(1);
    expect(parsePacket(got[0] as Uint8Array).payload).toEqual(parsePacket(packet).payload);
  }
  expect(pair.counters.forged).toBeGreaterThan(100);
});
