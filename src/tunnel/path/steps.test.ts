import { describe, expect, test } from "bun:test";
import {
  buildPacket,
  parsePacket,
  superPacket,
  type TestPacket,
  virtioBytes,
} from "../../../test/support/packets.ts";
import { type MemoryPort, PathPair } from "../../../test/support/path-memory.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import { chacha20Poly1305Open, chacha20Poly1305Seal } from "../../sys/mod.ts";

const base: TestPacket = {
  family: 4,
  protocol: "tcp",
  source: 1,
  target: 2,
  sourcePort: 1000,
  targetPort: 2000,
  payload: new Uint8Array(100).fill(7),
  sequence: 1,
};
const plain = (packet: Uint8Array) => new Uint8Array([...virtioBytes(), ...packet]);

/** Places and lengths of the frames that wait in a port. */
function frames(port: MemoryPort): (readonly [at: number, bytes: number])[] {
  return Array.from({ length: port.count }, (_, i) => i).flatMap((i) => {
    const [at, bytes, size] = [port.at(i), port.bytes(i), port.segmentBytes(i)];
    return Array.from(
      { length: Math.ceil(bytes / size) },
      (__, j) => [at + j * size, Math.min(size, bytes - j * size)] as const,
    );
  });
}

/** What far wrote, without virtio headers. */
const arrived = (pair: PathPair) => pair.far.take().map((bytes) => bytes.slice(10));

describe("seal and open", () => {
  test.each([
    ["IPv4 TCP", {}],
    ["IPv6 TCP", { family: 6 }],
    ["IPv4 UDP", { protocol: "udp" }],
    ["IPv6 UDP", { family: 6, protocol: "udp" }],
  ] as [string, Partial<TestPacket>][])("a super-packet of %s arrives as one", (_, changes) => {
    const pair = new PathPair();
    const whole = { ...base, ...changes, payload: Uint8Array.from({ length: 50_000 }, (__, i) => i % 251) };
    const read = superPacket(whole, 1300);
    pair.near.put(read);
    const sizes: number[] = [];
    pair.exchange((port) => sizes.push(...frames(port).map(([, bytes]) => bytes)));
    // The checksum field has only the sum of the pseudo header, as in what TUN gave.
    expect(arrived(pair)).toEqual([read.slice(10)]);
    expect(sizes.length).toBe(39);
    expect(pair.nearSession.sendCounter[0]).toBe(39);
    expect(pair.opened).toBe(1);
  });

  test("frames are WireGuard's: head, padding, tag (whitepaper 5.4.6)", () => {
    const pair = new PathPair({ mtuBytes: 1421 });
    for (const length of [40, 41, 47, 48, 1407, 1409, 1420, 1421]) {
      const packet = buildPacket({ ...base, payload: new Uint8Array(length - 40).fill(9) });
      pair.near.put(plain(packet));
      pair.exchange((port) => {
        const [[at, bytes]] = frames(port) as [[number, number]];
        const frame = pair.arena.copy(at, bytes);
        const counter = pair.nearSession.sendCounter[0] as number;
        expect([...frame.subarray(0, 16)]).toEqual([
          4,
          0,
          0,
          0,
          0x78,
          0x56,
          0x34,
          0x12,
          counter - 1,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
        ]);
        const padded = Math.min(Math.ceil(length / 16) * 16, 1421);
        expect(bytes).toBe(32 + padded);
        const nonce = new Uint8Array(12);
        nonce.set(frame.subarray(8, 16), 4);
        const text = chacha20Poly1305Open(frame.subarray(16), { key: new Uint8Array(32).fill(1), nonce });
        expect(text).toEqual(new Uint8Array([...packet, ...new Uint8Array(padded - length)]));
      });
      expect(arrived(pair)).toEqual([packet]);
    }
  });

  test("the high half of the counter is in head and nonce", () => {
    const pair = new PathPair();
    pair.nearSession.sendCounter[0] = 2 ** 32 + 5;
    pair.near.put(plain(buildPacket(base)));
    pair.exchange((port) => {
      const [[at]] = frames(port) as [[number, number]];
      expect([...pair.arena.copy(at + 8, 8)]).toEqual([5, 0, 0, 0, 1, 0, 0, 0]);
    });
    expect(arrived(pair)).toEqual([buildPacket(base)]);
    expect(pair.farSession.window.next[0]).toBe(2 ** 32 + 6);
  });

  test("small packets of many flows arrive in order", () => {
    const pair = new PathPair();
    const packets = Array.from({ length: 500 }, (_, i) =>
      buildPacket({
        ...base,
        family: i % 2 === 0 ? 4 : 6,
        protocol: i % 3 === 0 ? "udp" : "tcp",
        sourcePort: i,
        payload: new Uint8Array(1 + (i % 90)).fill(i),
      }),
    );
    pair.near.put(...packets.map(plain));
    pair.exchange();
    expect(arrived(pair)).toEqual(packets);
  });

  test("back-pressure: a full sender stops the reading in the middle of a packet, and nothing is lost or out of order", () => {
    const pair = new PathPair();
    const packets = Array.from({ length: 5 }, (_, i) =>
      superPacket(
        { ...base, sourcePort: i, payload: Uint8Array.from({ length: 20_000 }, (__, j) => (i * j) % 253) },
        1000,
      ),
    );
    pair.near.put(...packets);
    pair.port.room = 7;
    pair.seal.run();
    expect(pair.port.count).toBe(1);
    expect(pair.seal.blocked).toBe(true);
    // Nobody takes the frames: nothing more is read, however often it runs.
    const { left } = pair.near;
    expect(left).toBe(4);
    for (let i = 0; i < 5; i++) pair.seal.run();
    expect(pair.near.left).toBe(left);
    const payloads = new Map<number, Uint8Array[]>();
    while (pair.port.count > 0) {
      pair.open.run(pair.port.count);
      pair.port.received();
      pair.port.room = 13;
      pair.seal.run();
    }
    for (const bytes of arrived(pair)) {
      // The join has a checksum that is still open; its payload is behind 40 bytes.
      const port = ((bytes[20] as number) << 8) | (bytes[21] as number);
      payloads.set(port, [...(payloads.get(port) ?? []), bytes.slice(40)]);
    }
    packets.forEach((packet, i) => {
      expect(new Uint8Array(Buffer.concat(payloads.get(i) as Uint8Array[]))).toEqual(packet.slice(50));
    });
    expect(pair.nearSession.sendCounter[0]).toBe(100);
    expect(pair.counters).toMatchObject({ forged: 0, replayed: 0, unreadable: 0 });
  });

  test("a session that ends in the middle of a packet loses the rest of it, and its key is not used again", () => {
    const pair = new PathPair();
    pair.near.put(superPacket({ ...base, payload: new Uint8Array(20_000) }, 1000));
    pair.port.room = 7;
    pair.seal.run();
    pair.seal.release(pair.nearSession);
    pair.nearSession.sealKey[Symbol.dispose]();
    pair.nearPeer.session = undefined;
    pair.port.received();
    pair.port.room = 100;
    pair.near.put(plain(buildPacket(base)));
    pair.seal.run();
    expect(pair.unready).toEqual([7]);
    expect(pair.port.count).toBe(0);
  });

  test("a peer that loses its endpoint in the middle of a packet loses the rest of it, and is sent to again when it has one", () => {
    const pair = new PathPair();
    pair.near.put(superPacket({ ...base, payload: new Uint8Array(20_000) }, 1000));
    pair.port.room = 7;
    pair.seal.run();
    pair.nearPeer.sender = undefined;
    pair.port.received();
    pair.port.room = 100;
    pair.seal.run();
    expect([pair.port.count, pair.counters.unready]).toEqual([0, 1]);
    pair.nearPeer.sender = pair.port;
    pair.near.put(plain(buildPacket(base)));
    pair.seal.run();
    expect(pair.port.count).toBe(1);
  });
});

describe("what is refused", () => {
  /** One packet on the wire, changed, and what far wrote. */
  function changed(pair: PathPair, change: (at: number, bytes: number) => void): Uint8Array[] {
    pair.near.put(plain(buildPacket(base)));
    pair.exchange((port) => {
      for (const [at, bytes] of frames(port)) change(at, bytes);
    });
    return arrived(pair);
  }

  test("any wrong bit in what is sealed, in the tag or in the counter", () => {
    const pair = new PathPair();
    const length = 32 + 144;
    for (let i = 8; i < length; i++) {
      const got = changed(pair, (at, bytes) => {
        expect(bytes).toBe(length);
        pair.arena.u8[at + i] = (pair.arena.u8[at + i] as number) ^ 1;
      });
      expect(got).toEqual([]);
    }
    // The upper bytes of the counter lead beyond what a session may send, and are refused unopened.
    expect(pair.counters.forged + pair.counters.unknown).toBe(length - 8);
    expect(pair.counters.unknown).toBe(1);
    expect(pair.counters.replayed).toBe(0);
    // None of it has moved the window.
    expect(pair.farSession.window.next[0]).toBe(0);
    expect(changed(pair, () => {})).toEqual([buildPacket(base)]);
  });

  test("an index that no session has; kinds of datagrams that are not data go to the protocol", () => {
    const pair = new PathPair();
    expect(changed(pair, (at) => void (pair.arena.u8[at + 5] = 0))).toEqual([]);
    expect(pair.counters.unknown).toBe(1);
    for (const type of [0, 1, 2, 3, 5, 0x45, 0xff])
      expect(changed(pair, (at) => void (pair.arena.u8[at] = type))).toEqual([]);
    for (const reserved of [1, 2, 3])
      expect(changed(pair, (at) => void (pair.arena.u8[at + reserved] = 1))).toEqual([]);
    expect(pair.others.map((bytes) => bytes[0])).toEqual([0, 1, 2, 3, 5, 0x45, 0xff, 4, 4, 4]);
    expect(pair.others.every((bytes) => bytes.length === 176)).toBe(true);
    expect(pair.counters).toMatchObject({ forged: 0, unknown: 1 });
  });

  test("a packet that came before, and one that is too old", () => {
    const pair = new PathPair();
    const copies: Uint8Array[] = [];
    const send = () => {
      pair.near.put(plain(buildPacket(base)));
      pair.exchange((port) => {
        for (const [at, bytes] of frames(port)) copies.push(pair.arena.copy(at, bytes));
      });
      return arrived(pair).length;
    };
    const replay = (copy: Uint8Array): number => {
      const at = pair.port.frame(0, copy.length);
      pair.arena.store(at, copy);
      pair.port.flush();
      pair.open.run(pair.port.count);
      pair.port.received();
      return arrived(pair).length;
    };
    expect(send()).toBe(1);
    expect(replay(copies[0] as Uint8Array)).toBe(0);
    expect(pair.counters.replayed).toBe(1);
    pair.nearSession.sendCounter[0] = 8000;
    send();
    const late = copies.at(-1) as Uint8Array;
    pair.nearSession.sendCounter[0] = 20_000;
    send();
    expect(replay(late)).toBe(0);
    expect(pair.counters).toMatchObject({ replayed: 2, forged: 0 });
    // A packet that was held up on the way but not too long is new.
    pair.nearSession.sendCounter[0] = 19_000;
    send();
    expect(pair.counters.replayed).toBe(2);
  });

  test("the same packet twice in one batch", () => {
    const pair = new PathPair();
    pair.near.put(plain(buildPacket(base)));
    pair.seal.run();
    const [[at, bytes]] = frames(pair.port) as [[number, number]];
    const copy = pair.arena.copy(at, bytes);
    pair.port.received();
    for (let i = 0; i < 3; i++) pair.arena.store(pair.port.frame(0, bytes), copy);
    pair.port.flush();
    pair.open.run(pair.port.count);
    expect(arrived(pair).length).toBe(1);
    expect(pair.counters.replayed).toBe(2);
  });

  /** Sends a text under the session's key that no segmenter would make. */
  function authentic(pair: PathPair, text: Uint8Array, counter: number): Uint8Array[] {
    const frame = new Uint8Array(16 + text.length + 16);
    const view = new DataView(frame.buffer);
    view.setUint32(0, 4, true);
    view.setUint32(4, 0x12345678, true);
    view.setUint32(8, counter, true);
    const nonce = new Uint8Array(12);
    nonce.set(frame.subarray(8, 16), 4);
    frame.set(chacha20Poly1305Seal(text, { key: new Uint8Array(32).fill(1), nonce }), 16);
    pair.arena.store(pair.port.frame(0, frame.length), frame);
    pair.port.flush();
    pair.open.run(pair.port.count);
    pair.port.received();
    return arrived(pair);
  }

  test("authentic, but not IP, too short, or with lengths that lie", () => {
    const pair = new PathPair();
    const four = buildPacket(base);
    const six = buildPacket({ ...base, family: 6 });
    const changed4 = (place: number, value: number) => four.map((byte, i) => (i === place ? value : byte));
    const texts = [
      new Uint8Array([1]),
      new Uint8Array(64),
      new Uint8Array(64).fill(0x55),
      four.slice(0, 19),
      six.slice(0, 39),
      changed4(2, 0xff),
      changed4(3, 19).map((byte, i) => (i === 2 ? 0 : byte)),
      changed4(0, 0x44),
      changed4(0, 0x4f).slice(0, 50),
      six.map((byte, i) => (i === 4 ? 0xff : byte)),
    ];
    texts.forEach((text, i) => expect(authentic(pair, text, i)).toEqual([]));
    expect(pair.counters.malformed).toBe(texts.length);
    // An empty one is a keepalive: nothing to write, but the protocol hears of it.
    const { opened } = pair;
    expect(authentic(pair, new Uint8Array(0), 100)).toEqual([]);
    expect(pair.opened).toBe(opened + 1);
    // Padding is cut off.
    expect(authentic(pair, new Uint8Array([...four, ...new Uint8Array(4)]), 101)).toEqual([four]);
    expect(pair.counters.malformed).toBe(texts.length);
  });

  test("a source that the peer may not use", () => {
    const pair = new PathPair();
    pair.farTables.allowed4.insert({ bytes: new Uint8Array([10, 0, 0, 1]), length: 32 }, 8);
    expect(authentic(pair, buildPacket(base), 0)).toEqual([]);
    expect(authentic(pair, buildPacket({ ...base, source: 3 }), 1).length).toBe(1);
    expect(pair.counters.refusedSource).toBe(1);
  });

  test("packets to nobody, to a peer without session, without endpoint, or with a session that is used up", () => {
    const pair = new PathPair();
    pair.nearTables.allowed4.remove({ bytes: new Uint8Array(4), length: 0 }, 7);
    const run = () => {
      pair.near.put(plain(buildPacket(base)));
      pair.seal.run();
      expect(pair.port.count).toBe(0);
    };
    run();
    expect(pair.counters.unrouted).toBe(1);
    pair.nearTables.allowed4.insert({ bytes: new Uint8Array([10, 0, 0, 2]), length: 32 }, 7);
    pair.nearPeer.session = undefined;
    run();
    pair.nearPeer.session = pair.nearSession;
    pair.nearPeer.sender = undefined;
    run();
    pair.nearPeer.sender = pair.port;
    pair.nearTables.nowMs = Number.POSITIVE_INFINITY;
    run();
    pair.nearTables.nowMs = 0;
    expect(pair.unready).toEqual([7, 7, 7]);
    pair.nearSession.sendCounter[0] = 2 ** 53 - 2 ** 13 - 1;
    run();
    expect(pair.counters.exhausted).toBe(1);
    pair.nearSession.sendCounter[0] = 0;
    pair.near.put(
      new Uint8Array(10),
      new Uint8Array(29),
      new Uint8Array([...virtioBytes({ type: 9, flags: 1 }), ...buildPacket(base)]),
    );
    pair.seal.run();
    expect(pair.counters).toMatchObject({ unrouted: 3, unready: 3, unreadable: 1 });
    expect(pair.port.count).toBe(0);
  });

  const seed = newSeed();
  test(`mutated frames and random datagrams change nothing, and the flow goes on (SEED=${seed})`, () => {
    const random = new Random(seed);
    const pair = new PathPair();
    let sent = 0;
    for (let round = 0; round < 300; round++) {
      const packet = { ...base, protocol: "udp" as const, payload: random.bytes(random.below(200)) };
      pair.near.put(plain(buildPacket(packet)));
      pair.seal.run();
      const [[at, bytes]] = frames(pair.port) as [[number, number]];
      const copy = pair.arena.copy(at, bytes);
      pair.port.received();
      const wrong = Array.from({ length: 5 }, () =>
        random.chance(0.5) ? random.mutate(copy) : random.bytes(random.below(300)),
      );
      const right = random.below(5);
      wrong.forEach((bad, i) => {
        for (const datagram of i === right ? [bad, copy] : [bad])
          if (datagram.length > 0) pair.arena.store(pair.port.frame(0, datagram.length), datagram);
      });
      pair.port.flush();
      pair.open.run(pair.port.count);
      pair.port.received();
      sent++;
      const got = arrived(pair);
      // A mutation may have changed nothing.
      expect(got.length).toBe(1);
      expect(parsePacket(got[0] as Uint8Array).payload).toEqual(packet.payload);
    }
    expect(sent).toBe(300);
    expect(pair.counters.forged).toBeGreaterThan(100);
    expect(pair.others.length).toBeGreaterThan(100);
  });
});
