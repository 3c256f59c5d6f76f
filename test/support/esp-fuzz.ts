/**
 * Fuzzes ESP in a guarded arena: `bun test/support/esp-fuzz.ts SEED ROUNDS ALGORITHM [PROVIDER]`. Any byte read or written outside of its
 * allocation ends this process by SIGSEGV, whoever does it; the test that started it sees that. Prints counts.
 *
 * - datagrams: random ones, mutated packets, repeated ones, and authentic packets with any text (a peer that means ill), each ending at a guard page;
 *   packets from raw sockets with random IP headers before them;
 * - packets from TUN, with TFC padding that changes.
 */
import { EspPair, type HandSeal, handSeal, keyMaterial, trailed } from "./esp-memory.ts";
import { buildPacket, superPacket, type TestPacket } from "./packets.ts";
import { Random } from "./random.ts";
import { otherKind, RawMessages } from "../../src/tunnel/esp/mod.ts";
import { socketAddress } from "../../src/sys/mod.ts";
import { type AeadName, checksumOf, Coalescer, OpenStep } from "../../src/tunnel/path/mod.ts";

const random = new Random(Number(process.argv[2]));
const rounds = Number(process.argv[3]);
const algorithm = process.argv[4] as HandSeal["algorithm"];
const aead = process.argv[5] as AeadName | undefined;
const pair = new EspPair({
  guarded: true,
  algorithm,
  windowSize: random.pick([32, 128, 8192]),
  ...(aead === undefined ? {} : { aead }),
});
const { arena } = pair;

/** Messages that each end at the end of an allocation; some as if they came from a raw socket. */
const MESSAGES = 16;
const buffers = Array.from({ length: MESSAGES }, () => arena.allocate(65_536));
const name = arena.allocate(28);
interface Message {
  readonly at: number;
  readonly bytes: number;
  readonly segment: number;
}
const list: Message[] = [];
function put(message: Uint8Array, segment: number): void {
  const at = (buffers[list.length] as number) + 65_536 - message.length;
  arena.store(at, message);
  list.push({ at, bytes: message.length, segment });
}
const messages = {
  at: (index: number) => list[index]?.at as number,
  bytes: (index: number) => list[index]?.bytes as number,
  segmentBytes: (index: number) => list[index]?.segment as number,
  sourceAt: () => name,
};

const kinds = { keepalive: 0, ike: 0, malformed: 0 };
const common = {
  framing: pair.framing,
  sink: new Coalescer(arena, { checksum: checksumOf(arena), writer: pair.far, udp: true }),
  tables: pair.farTables,
  counters: pair.counters,
  events: {
    other: (at: number, bytes: number) => void kinds[otherKind(arena, at, bytes)]++,
    opened: () => {},
  },
};
const open = new OpenStep(arena, { ...common, messages });
const openRaw = new OpenStep(arena, { ...common, messages: new RawMessages(arena, messages) });

let sequence = BigInt(random.pick([1, 2 ** 32 - 5000, 2 ** 33 - 10]));
pair.inbound.window.next[0] = Number(sequence);
const by = { algorithm, keyMaterial: keyMaterial(algorithm), spi: 0x100, extended: true };

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
    id: random.below(3),
  };
}

/** A text under the right key: whole, mutated, or with a trailer that lies. */
function text(): Uint8Array {
  const one = packet();
  const whole = trailed(
    buildPacket(one),
    random.chance(0.9) ? (one.family === 4 ? 4 : 41) : random.below(256),
  );
  const kind = random.below(6);
  if (kind === 0) return random.mutate(whole);
  if (kind === 1) whole[whole.length - 2] = random.below(256);
  if (kind === 2) return random.bytes(random.below(40));
  return whole;
}

/** Datagrams that came before; near the newest the most. */
const seen: Uint8Array[] = [];
function datagram(): Uint8Array {
  const kind = random.below(8);
  if (kind === 0) return random.bytes(random.below(100));
  if (kind === 1) return random.pick([new Uint8Array([255]), new Uint8Array(1 + random.below(100))]);
  if (kind === 2 && seen.length > 0)
    return seen[Math.max(0, seen.length - 1 - random.below(20))] as Uint8Array;
  const whole = handSeal({ ...by, sequence, text: text() });
  sequence += BigInt(random.pick([1, 1, 1, 2, 40]));
  seen.push(whole);
  return kind === 3 ? random.mutate(whole) : whole;
}

/** Packets that can be joined, one behind the other, and how long each is. */
function train(): { readonly bytes: Uint8Array; readonly each: number } {
  const first = { ...packet(), protocol: "tcp" as const, payload: random.bytes(64) };
  const frames = Array.from({ length: 1 + random.below(20) }, (_, i) =>
    handSeal({
      ...by,
      sequence: sequence++,
      text: trailed(
        buildPacket({
          ...first,
          sequence: (first.sequence as number) + 64 * i,
          id: (first.id as number) + i,
        }),
        first.family === 4 ? 4 : 41,
      ),
    }),
  );
  return { bytes: new Uint8Array(Buffer.concat(frames)), each: frames[0]?.length as number };
}

let written = 0;
let joined = 0;
let frames = 0;
for (let round = 0; round < rounds; round++) {
  list.length = 0;
  const raw = random.chance(0.3);
  arena.store(name, socketAddress(new Uint8Array(random.chance(0.7) ? 4 : 16), 0));
  for (let i = random.below(MESSAGES); i >= 0; i--) {
    if (raw) {
      const header = new Uint8Array(random.pick([0, 20, 24, 60]));
      header[0] = random.chance(0.8) ? 0x40 + header.length / 4 : random.below(256);
      put(new Uint8Array([...header, ...datagram(), ...(header.length === 0 ? [0] : [])]), 1);
    } else if (random.chance(0.3)) {
      const { bytes, each } = train();
      put(bytes, random.chance(0.9) ? each : 1 + random.below(bytes.length));
    } else {
      const one = datagram();
      if (one.length > 0) put(one, random.chance(0.8) ? one.length : 1 + random.below(one.length));
    }
  }
  (raw ? openRaw : open).run(list.length);
  for (const bytes of pair.far.take()) {
    written++;
    if (bytes[1] !== 0) joined++;
  }
  pair.framing.tfcBytes = random.pick([0, 0, 100, 1440, 9000]);
  pair.near.clear();
  for (let i = random.below(4); i > 0; i--) {
    const whole = superPacket(packet(), random.chance(0.7) ? 1 + random.below(1400) : undefined);
    pair.near.put(random.chance(0.5) ? random.mutate(whole) : whole);
  }
  pair.seal.run();
  frames += pair.port.count;
  pair.port.received();
}
process.stdout.write(JSON.stringify({ written, joined, frames, kinds, counters: pair.counters }));
