import { describe, expect, test } from "bun:test";
import {
  buildPacket,
  parsePacket,
  readVirtio,
  type TestPacket,
  type Virtio,
} from "../../../test/support/packets.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import { Arena } from "../../sys/mod.ts";
import { checksumOf } from "./checksum.ts";
import { Coalescer, type PacketWriter } from "./coalesce.ts";
import { Segmenter } from "./segment.ts";

const arena = new Arena({ bytes: 4 << 20 });
const checksum = checksumOf(arena);
const segmenter = new Segmenter(arena, checksum);
const AREA = 1 << 20;
const STRIDE = 2048;

/** One packet as it was written to TUN. */
interface Written {
  readonly virtio: Virtio;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

class Collector implements PacketWriter {
  readonly all: Uint8Array<ArrayBuffer>[] = [];
  write(at: number, length: number): void {
    this.all.push(arena.copy(at, length));
  }
  writeParts(vectors: number, count: number): void {
    const parts = Array.from({ length: count }, (_, i) => {
      const length = Number(arena.view.getBigUint64(vectors + 16 * i + 8, true));
      return arena.copy(arena.offsetOf(vectors + 16 * i, length), length);
    });
    this.all.push(new Uint8Array(Buffer.concat(parts)));
  }
  take(): Written[] {
    return this.all.splice(0).map((bytes) => ({ virtio: readVirtio(bytes), bytes: bytes.slice(10) }));
  }
}

const writer = new Collector();
const coalescer = new Coalescer(arena, { checksum, writer, udp: true });

/** What the writer gets for packets that come in one batch. */
function written(packets: readonly Uint8Array[], by = coalescer): Written[] {
  packets.forEach((packet, i) => {
    const at = AREA + i * STRIDE + 16;
    arena.u8.fill(0xee, at - 16, at);
    arena.store(at, packet);
    by.add(at, packet.length);
  });
  by.flush();
  return writer.take();
}

/** What the kernel makes of it: the packets that a large one stands for. */
function expanded({ virtio, bytes }: Written): Uint8Array<ArrayBuffer>[] {
  if (virtio.type === 0) return [bytes];
  expect(virtio.flags).toBe(1);
  expect(bytes.length).toBeLessThanOrEqual(65_535);
  const at = 65536;
  arena.store(at, new Uint8Array(10));
  arena.view.setUint8(at, virtio.flags);
  arena.view.setUint8(at + 1, virtio.type);
  [virtio.headerBytes, virtio.segmentBytes, virtio.checksumStart, virtio.checksumOffset].forEach((value, i) =>
    arena.view.setUint16(at + 2 + 2 * i, value, true),
  );
  arena.store(at + 10, bytes);
  const count = segmenter.begin(at, bytes.length + 10);
  expect(count).toBeGreaterThan(1);
  return Array.from({ length: count }, (_, i) => {
    segmenter.write(i, 4096);
    return arena.copy(4096, segmenter.bytes(i));
  });
}

const base: TestPacket = {
  family: 4,
  protocol: "tcp",
  source: 1,
  target: 2,
  sourcePort: 1000,
  targetPort: 2000,
  payload: new Uint8Array(100).fill(1),
  sequence: 5000,
};
/** A run of segments that can be joined. */
const run = (count: number, changes: Partial<TestPacket> = {}): TestPacket[] =>
  Array.from({ length: count }, (_, i) => {
    const packet = { ...base, ...changes };
    return {
      ...packet,
      id: (packet.id ?? 0) + i,
      sequence: ((packet.sequence as number) + i * packet.payload.length) >>> 0,
    };
  });
const counts = (packets: readonly TestPacket[], by = coalescer) =>
  written(packets.map(buildPacket), by).map((one) => expanded(one).length);

describe("coalescer", () => {
  test.each([
    ["IPv4 TCP", {}],
    ["IPv6 TCP", { family: 6 }],
    ["IPv4 UDP", { protocol: "udp" }],
    ["IPv6 UDP", { family: 6, protocol: "udp" }],
    ["with options", { options: new Uint8Array([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]) }],
    ["over the end of the sequence numbers", { sequence: 2 ** 32 - 150 }],
    ["over the end of the identifications", { id: 65534, dontFragment: false }],
  ] as [string, Partial<TestPacket>][])("%s: what follows is joined, and means what came", (_, changes) => {
    const packets = run(10, changes).map(buildPacket);
    const all = written(packets);
    expect(all.length).toBe(1);
    const [one] = all as [Written];
    const headerBytes = (packets[0] as Uint8Array).length - 100;
    expect(one.virtio).toEqual({
      flags: 1,
      type: changes.protocol === "udp" ? 5 : changes.family === 6 ? 4 : 1,
      headerBytes,
      segmentBytes: 100,
      checksumStart: changes.family === 6 ? 40 : 20,
      checksumOffset: changes.protocol === "udp" ? 6 : 16,
    });
    expect(one.bytes.length).toBe(headerBytes + 1000);
    expect(expanded(one)).toEqual(packets);
  });

  test("a packet alone is written as it came, with an empty virtio header", () => {
    const packet = buildPacket(base);
    expect(written([packet])).toEqual([{ virtio: readVirtio(new Uint8Array(10)), bytes: packet }]);
  });

  test.each([
    ["another port", { sourcePort: 1001 }, [5, 1]],
    ["another address", { target: 3 }, [5, 1]],
    ["a hole in the sequence", { sequence: 5501 }, [5, 1]],
    ["a repetition", { sequence: 5400 }, [5, 1]],
    ["another acknowledgement", { acknowledgement: 1 }, [5, 1]],
    ["another window", { window: 7 }, [5, 1]],
    ["another TTL", { ttl: 63 }, [5, 1]],
    ["another service (ECN)", { service: 3 }, [5, 1]],
    ["FIN", { flags: 0x11 }, [5, 1]],
    ["URG", { flags: 0x30 }, [5, 1]],
    ["CWR", { flags: 0x90 }, [5, 1]],
    ["another kind of options", { options: new Uint8Array([1, 1, 1, 1]) }, [5, 1]],
    ["a longer payload", { payload: new Uint8Array(101) }, [5, 1]],
    ["no payload", { payload: new Uint8Array(0) }, [5, 1]],
    ["other bits about fragments", { dontFragment: false }, [5, 1]],
    ["a fragment", { fragment: 0x2000 }, [5, 1]],
    ["a shorter payload, which is the last", { payload: new Uint8Array(99) }, [6]],
    ["PSH, which is the last", { flags: 0x18 }, [6]],
  ] as [string, Partial<TestPacket>, number[]][])("after %s", (_, changes, expected) => {
    expect(counts([...run(5), { ...base, sequence: 5500, ...changes }])).toEqual(expected);
  });

  test.each([
    ["short", { payload: new Uint8Array(99) }, 5599],
    ["pushed", { flags: 0x18 }, 5600],
  ] as [string, Partial<TestPacket>, number][])(
    "nothing is added behind a %s one",
    (_, changes, sequence) => {
      expect(counts([...run(5), { ...base, sequence: 5500, ...changes }, ...run(2, { sequence })])).toEqual([
        6, 2,
      ]);
    },
  );

  test("IPv4 identifications must count up where fragmentation is allowed", () => {
    const packets = run(5, { dontFragment: false });
    expect(counts(packets)).toEqual([5]);
    expect(counts(packets.map((packet) => ({ ...packet, id: 7 })))).toEqual([1, 1, 1, 1, 1]);
    expect(counts(packets.map((packet) => ({ ...packet, id: 7, dontFragment: true })))).toEqual([5]);
  });

  test("UDP of other sizes, without checksum, or not offloaded is not joined", () => {
    const udp = run(5, { protocol: "udp" });
    expect(counts([...udp, { ...base, protocol: "udp", payload: new Uint8Array(50) }, ...udp])).toEqual([
      6, 5,
    ]);
    expect(counts([...udp, { ...base, protocol: "udp", payload: new Uint8Array(101) }])).toEqual([5, 1]);
    expect(counts(run(5, { protocol: "udp", withoutChecksum: true }))).toEqual([1, 1, 1, 1, 1]);
    expect(counts(run(5, { protocol: "udp", payload: new Uint8Array(0) }))).toEqual([1, 1, 1, 1, 1]);
    expect(counts(udp, new Coalescer(arena, { checksum, writer, udp: false }))).toEqual([1, 1, 1, 1, 1]);
  });

  test("at most 64 KiB, at most 64 of UDP, at most as many parts as writev takes", () => {
    expect(counts(run(100, { payload: new Uint8Array(1400) }))).toEqual([46, 46, 8]);
    expect(counts(run(100, { payload: new Uint8Array(1400), family: 6 }))).toEqual([46, 46, 8]);
    expect(counts(run(100, { protocol: "udp", payload: new Uint8Array(10) }))).toEqual([64, 36]);
    const tiny = counts(run(1020, { payload: new Uint8Array(1) }));
    expect(tiny).toEqual([1020]);
  });

  test("interleaved flows are joined each by itself, in the order of their first packets", () => {
    const flows = [1000, 1001, 1002].map((sourcePort) => run(20, { sourcePort }));
    const mixed = Array.from(
      { length: 60 },
      (_, i) => (flows[i % 3] as TestPacket[])[Math.floor(i / 3)] as TestPacket,
    );
    const all = written(mixed.map(buildPacket)).map(expanded);
    expect(all.map((one) => parsePacket(one[0] as Uint8Array).sourcePort)).toEqual([1000, 1001, 1002]);
    expect(all.map((one) => one.length)).toEqual([20, 20, 20]);
  });

  test("what belongs to a flow and cannot be joined is not passed by what comes later", () => {
    const [a, b] = [run(3), run(3, { sequence: 5300 })];
    const ack = { ...base, payload: new Uint8Array(0), sequence: 5300 };
    expect(counts([...a, ack, ...b])).toEqual([3, 1, 3]);
    const fragment = { ...base, fragment: 0x2000, sourcePort: 9 };
    expect(counts([...a, fragment, ...b])).toEqual([3, 1, 3]);
    // ICMP belongs to no flow.
    const icmp = buildPacket(base);
    icmp[9] = 1;
    expect(
      written([...a.map(buildPacket), icmp, ...b.map(buildPacket)]).map((one) => one.bytes.length),
    ).toEqual([640, 140]);
  });

  const broken = (packet: TestPacket, place: number) => {
    const bytes = buildPacket(packet);
    bytes[place] = (bytes[place] as number) ^ 0x10;
    return bytes;
  };
  test("a wrong checksum is never made right: in the payload, the TCP header, the IP header", () => {
    const packets = run(5);
    for (const place of [60, 36, 37, 10]) {
      for (const which of [0, 2, 4]) {
        const bytes = packets.map((packet, i) => (i === which ? broken(packet, place) : buildPacket(packet)));
        const all = written(bytes).flatMap(expanded);
        expect(all).toEqual(bytes);
      }
    }
  });

  const seed = newSeed();
  test(`random flows, losses and damage: each flow's packets come out as they went in (SEED=${seed})`, () => {
    const random = new Random(seed);
    let joins = 0;
    for (let round = 0; round < 60; round++) {
      const flows = Array.from({ length: 1 + random.below(6) }, (_, i) => ({
        ...base,
        family: random.pick([4, 6] as const),
        protocol: random.pick(["tcp", "udp"] as const),
        sourcePort: i,
        sequence: random.u32(),
        payload: random.bytes(1 + random.below(300)),
        id: random.below(65536),
        dontFragment: random.chance(0.5),
        options: random.bytes(4 * random.below(3)),
      }));
      const input = Array.from({ length: random.below(200) }, () => {
        const flow = random.pick(flows) as TestPacket & { sequence: number; id: number };
        const packet = { ...flow, payload: random.chance(0.05) ? flow.payload.slice(1) : flow.payload };
        if (random.chance(0.05)) packet.flags = random.below(256);
        if (!random.chance(0.05)) {
          flow.sequence = (flow.sequence + packet.payload.length) >>> 0;
          flow.id = (flow.id + 1) & 0xffff;
        }
        const bytes = buildPacket(packet);
        if (random.chance(0.03)) {
          const place = 44 + random.below(bytes.length - 44);
          if (place < bytes.length) bytes[place] = (bytes[place] as number) ^ 1;
        }
        return bytes;
      });
      const all = written(input);
      joins += all.filter(({ virtio }) => virtio.type !== 0).length;
      // Identifications of packets that are never fragmented mean nothing; zero has two forms in a checksum of TCP (RFC 1071).
      const normal = (bytes: Uint8Array) => {
        const copy = bytes.slice();
        const four = (copy[0] as number) >> 4 === 4;
        if (four && ((copy[6] as number) & 0x40) !== 0) copy.fill(0, 4, 6).fill(0, 10, 12);
        const checksum = (four ? 20 : 40) + 16;
        if (copy[four ? 9 : 6] === 6 && copy[checksum] === 255 && copy[checksum + 1] === 255)
          copy.fill(0, checksum, checksum + 2);
        return Buffer.from(copy).toString("hex");
      };
      const byFlow = (packets: Uint8Array[]) => {
        const lists: Record<string, string[]> = {};
        for (const packet of packets) {
          const port = (packet[0] as number) >> 4 === 4 ? packet[21] : packet[41];
          (lists[String(port)] ??= []).push(normal(packet));
        }
        return lists;
      };
      expect(byFlow(all.flatMap(expanded))).toEqual(byFlow(input));
    }
    expect(joins).toBeGreaterThan(50);
  });

  test(`random bytes and mutated packets are passed on, never an error (SEED=${seed})`, () => {
    const random = new Random(seed + 1);
    for (let round = 0; round < 100; round++) {
      const input = run(40, { family: random.pick([4, 6]), protocol: random.pick(["tcp", "udp"]) }).map(
        (packet) => {
          const bytes = buildPacket(packet);
          const mutated = random.chance(0.3) ? random.mutate(bytes) : bytes;
          // The caller checks the IP header's length only.
          return mutated.length < 40 ? bytes : mutated;
        },
      );
      const bytes = written(input).reduce((total, one) => total + one.bytes.length, 0);
      expect(bytes).toBeLessThanOrEqual(input.reduce((total, one) => total + one.length, 0));
    }
  });

  test("more packets than it holds are flushed in between", () => {
    const count = 1500;
    const packets = Array.from({ length: count }, (_, i) => buildPacket({ ...base, sourcePort: i }));
    expect(written(packets).length).toBe(count);
    expect(
      written(run(count, { payload: new Uint8Array(1) }).map(buildPacket)).flatMap(expanded).length,
    ).toBe(count);
  });
});
