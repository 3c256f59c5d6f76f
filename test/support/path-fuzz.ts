/**
 * Fuzzes the whole path in a guarded arena: `bun test/support/path-fuzz.ts SEED ROUNDS [ALGORITHM [PROVIDER]]`. Any byte read or written outside of its
 * allocation ends this process by SIGSEGV, whoever does it; the test that started it sees that. Prints counts.
 *
 * - datagrams: random ones, mutated frames, and authentic frames with mutated packets inside (a peer that means ill), each ending at a guard page;
 * - packets from TUN: random ones and mutated super-packets, likewise.
 */
import { Random } from "./random.ts";
import { buildPacket, superPacket, type TestPacket } from "./packets.ts";
import { PathPair } from "./path-memory.ts";
import { AeadBatch, type AeadAlgorithm } from "../../src/sys/mod.ts";
import {
  type AeadName,
  type MessageSource,
  OpenStep,
  checksumOf,
  Coalescer,
  Segmenter,
  SealStep,
  WireguardFraming,
} from "../../src/tunnel/path/mod.ts";

const random = new Random(Number(process.argv[2]));
const rounds = Number(process.argv[3]);
const algorithm = (process.argv[4] ?? "chacha20-poly1305") as AeadAlgorithm;
const aead = process.argv[5] as AeadName | undefined;
const pair = new PathPair({ guarded: true, algorithm, ...(aead === undefined ? {} : { aead }) });
const { arena } = pair;

/** Messages that each end at the end of an allocation. */
const MESSAGES = 16;
class Ending implements MessageSource {
  readonly #buffers = Array.from({ length: MESSAGES }, () => arena.allocate(65_536));
  readonly list: { at: number; bytes: number; segment: number }[] = [];

  put(message: Uint8Array, segment: number): number {
    const at = (this.#buffers[this.list.length] as number) + 65_536 - message.length;
    arena.store(at, message);
    this.list.push({ at, bytes: message.length, segment });
    return at;
  }
  at(index: number): number {
    return this.list[index]?.at as number;
  }
  bytes(index: number): number {
    return this.list[index]?.bytes as number;
  }
  segmentBytes(index: number): number {
    return this.list[index]?.segment as number;
  }
}

const messages = new Ending();
const framing = new WireguardFraming(arena, { mtuBytes: 1420 });
const checksum = checksumOf(arena);
const open = new OpenStep(arena, {
  messages,
  framing,
  sink: new Coalescer(arena, { checksum, writer: pair.far, udp: true }),
  tables: pair.farTables,
  counters: pair.counters,
  events: { other: (at, bytes) => void arena.copy(at, bytes), opened: () => {} },
});

/** A source whose packets end at the end of an allocation. */
const slot = arena.allocate(70_000);
const source = {
  waiting: [] as Uint8Array[],
  offset: 0,
  length: 0,
  receive(): number {
    const packet = source.waiting.pop();
    if (packet === undefined) return 0;
    source.length = packet.length;
    source.offset = slot + 70_000 - packet.length;
    arena.store(source.offset, packet);
    return 1;
  },
  at: () => source.offset,
  bytes: () => source.length,
};
const seal = new SealStep(arena, {
  source,
  segmenter: new Segmenter(arena, checksum),
  framing,
  senders: [pair.port],
  tables: pair.nearTables,
  counters: pair.counters,
  events: { unready: () => {}, sealed: () => {} },
});

let counter = 0;
const batch = new AeadBatch(arena, "seal");
const frameAt = arena.allocate(66_000);
/** An authentic frame around any text. */
function frame(text: Uint8Array): Uint8Array<ArrayBuffer> {
  arena.store(frameAt + 16, text);
  batch.clear();
  framing.seal(batch, frameAt, text.length, pair.nearSession, counter++);
  pair.nearSession.sealKey.run(batch);
  return arena.copy(frameAt, framing.frameBytes(text.length));
}

function packet(): TestPacket {
  return {
    family: random.pick([4, 6] as const),
    protocol: random.pick(["tcp", "udp"] as const),
    source: random.below(3),
    target: 1,
    sourcePort: random.below(3),
    targetPort: 1,
    payload: random.bytes(random.below(random.pick([4, 200, 1300]))),
    sequence: random.below(3) * 100,
    flags: random.chance(0.8) ? 0x10 : random.below(256),
    options: random.bytes(4 * random.below(3)),
    id: random.below(3),
    dontFragment: random.chance(0.7),
    ...(random.chance(0.1) ? { fragment: random.below(65536) } : {}),
  };
}

function flowOf(count: number): Uint8Array[] {
  // Runs of segments that can be joined, a few of them damaged.
  const first = packet();
  return Array.from({ length: count }, (_, i) =>
    buildPacket({
      ...first,
      sequence: (first.sequence as number) + i * first.payload.length,
      id: (first.id as number) + i,
    }),
  );
}

function text(): Uint8Array {
  if (random.chance(0.1)) return random.bytes(random.below(80));
  const bytes = buildPacket(packet());
  return random.chance(0.7) ? random.mutate(bytes) : bytes;
}

let last: Uint8Array | undefined;
function datagram(): Uint8Array {
  const kind = random.below(5);
  if (kind === 0) return random.bytes(random.below(100));
  // One that came before, perhaps in the same batch.
  if (kind === 4 && last !== undefined) return last;
  const whole = frame(text());
  last = whole;
  return kind === 1 ? random.mutate(whole) : whole;
}

let joined = 0;
let written = 0;
let frames = 0;
for (let round = 0; round < rounds; round++) {
  messages.list.length = 0;
  for (let i = random.below(MESSAGES); i >= 0; i--) {
    if (random.chance(0.3)) {
      const all = flowOf(1 + random.below(20)).map((one) =>
        frame(random.chance(0.05) ? random.mutate(one) : one),
      );
      const size = all[0]?.length as number;
      const same = all.filter((one) => one.length === size);
      messages.put(
        new Uint8Array(Buffer.concat(same)),
        random.chance(0.9) ? size : 1 + random.below(size + 40),
      );
    } else {
      const one = datagram();
      if (one.length > 0) messages.put(one, random.chance(0.8) ? one.length : 1 + random.below(one.length));
    }
  }
  open.run(messages.list.length);
  for (const bytes of pair.far.take()) {
    written++;
    if (bytes[1] !== 0) joined++;
  }
  for (let i = random.below(4); i > 0; i--) {
    const whole = superPacket(packet(), random.chance(0.7) ? 1 + random.below(1400) : undefined);
    source.waiting.push(
      random.chance(0.2)
        ? random.bytes(random.below(120))
        : random.chance(0.6)
          ? random.mutate(whole)
          : whole,
    );
  }
  seal.run();
  frames += pair.port.count;
  pair.port.received();
}
process.stdout.write(JSON.stringify({ written, joined, frames, counters: pair.counters }));
