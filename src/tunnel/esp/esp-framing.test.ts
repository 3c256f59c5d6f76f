import { describe, expect, test } from "bun:test";
import { trailed } from "../../../test/support/esp-memory.ts";
import { espVectors, type EspVector } from "../../../test/support/esp-vectors.ts";
import { ipsecMbFolders } from "../../../test/support/ipsec-mb.ts";
import { AeadBatch, type AeadProvider, Arena } from "../../sys/mod.ts";
import { aeadNames, openAead } from "../path/mod.ts";
import { EspFraming, type EspOpenSession, type EspSealSession } from "./esp-framing.ts";
import { newSequenceWindow } from "./replay.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const saltOf = (salt: string) => Buffer.from(salt, "hex").readUInt32LE();

const folders = ipsecMbFolders();
const ARENA = { bytes: 4 << 20 };
const lacks = (name: (typeof aeadNames)[number]) => {
  try {
    openAead(name, new Arena(ARENA), folders);
    return undefined;
  } catch (error) {
    return `${(error as Error).message.slice(0, 80)}; bun tools/debian-suite.ts fetches it`;
  }
};

function opening(provider: AeadProvider, vector: EspVector): EspOpenSession & Disposable {
  const openKey = provider.key(vector.algorithm, hex(vector.key), "open");
  return {
    peer: 0,
    endsMs: Number.POSITIVE_INFINITY,
    openKey,
    salt: saltOf(vector.salt),
    extended: vector.high !== undefined,
    window: newSequenceWindow(64),
    [Symbol.dispose]: () => openKey[Symbol.dispose](),
  };
}

/** Opens one packet: its text, or undefined if it is not authentic. */
function open(
  arena: Arena,
  framing: EspFraming,
  session: EspOpenSession,
  packet: Uint8Array,
  counter: number,
) {
  const batch = new AeadBatch(arena, "open");
  const at = arena.allocate(packet.length);
  arena.store(at, packet);
  framing.open(batch, at, packet.length, session, counter);
  session.openKey.run(batch);
  const bytes = batch.lengthOf(0);
  return batch.verdicts[0] === 1
    ? { text: arena.copy(batch.textAt(0), bytes), packetBytes: framing.packetBytes(batch.textAt(0), bytes) }
    : undefined;
}

for (const name of aeadNames) {
  const reason = lacks(name);
  describe.skipIf(reason !== undefined)(
    `ESP by ${name}${reason === undefined ? "" : ` (skipped: ${reason})`}`,
    () => {
      test.each(espVectors.map((vector) => [vector.source, vector] as const))("%s", (_, vector) => {
        const arena = new Arena(ARENA);
        const framing = new EspFraming(arena);
        using session = opening(openAead(name, arena, folders), vector);
        const packet = hex(vector.packet);
        // A number may be too great to be exact; the head has its lower half.
        const counter = (vector.high ?? 0) * 2 ** 32;
        const opened = open(arena, framing, session, packet, counter);
        expect(text(opened?.text as Uint8Array)).toBe(vector.text);
        // Only those with the trailer of tunnel mode are packets for us.
        const [pad, next] = hex(vector.text).subarray(-2) as unknown as [number, number];
        expect(opened?.packetBytes).toBe(next === 4 ? vector.text.length / 2 - 2 - pad : -1);
        // The half that is not sent is authentic too, and so is whether there is one.
        if (vector.high !== undefined)
          expect(open(arena, framing, session, packet, counter + 2 ** 32)).toBeUndefined();
        expect(
          open(arena, framing, { ...session, extended: !session.extended }, packet, counter),
        ).toBeUndefined();
        expect(open(arena, framing, { ...session, salt: session.salt ^ 1 }, packet, counter)).toBeUndefined();
      });

      test.each(
        espVectors
          .filter(({ source }) => source.startsWith("Vita"))
          .map((vector) => [vector.source, vector] as const),
      )("%s, sealed: all but padding and ICV", (_, vector) => {
        const arena = new Arena(ARENA);
        const framing = new EspFraming(arena);
        const provider = openAead(name, arena, folders);
        using sealKey = provider.key(vector.algorithm, hex(vector.key), "seal");
        const session: EspSealSession = {
          remoteIndex: 0x100,
          endsMs: Number.POSITIVE_INFINITY,
          claim: () => -1,
          sealKey,
          salt: saltOf(vector.salt),
          extended: true,
        };
        const batch = new AeadBatch(arena, "seal");
        const at = arena.allocate(framing.frameBytes(28));
        arena.u8.fill(0x45, at + 16, at + 16 + 28);
        framing.seal(batch, at, 28, session, vector.high === 1 ? 2 ** 32 : 1);
        sealKey.run(batch);
        const ours = text(arena.copy(at, framing.frameBytes(28)));
        const theirs = vector.packet;
        expect(ours.length).toBe(theirs.length);
        // Head and packet, then padding (1 2 against 0 0, through the same key stream), then the trailer.
        expect(ours.slice(0, 88)).toBe(theirs.slice(0, 88));
        expect(Number.parseInt(ours.slice(88, 92), 16) ^ Number.parseInt(theirs.slice(88, 92), 16)).toBe(
          0x0102,
        );
        expect(ours.slice(92, 96)).toBe(theirs.slice(92, 96));
      });
    },
  );
}

describe("ESP heads and trailers", () => {
  const make = (options = {}) => {
    const arena = new Arena(ARENA);
    return { arena, framing: new EspFraming(arena, options) };
  };

  test("the text ends at four bytes; TFC makes all equally long (RFC 4303, sections 2.4 and 2.7)", () => {
    const { framing } = make();
    expect([0, 1, 2, 3, 20, 28, 1438].map((bytes) => framing.frameBytes(bytes) - 32)).toEqual([
      4, 4, 4, 8, 24, 32, 1440,
    ]);
    framing.tfcBytes = 1440;
    expect(new Set([20, 1000, 1439, 1440].map((bytes) => framing.frameBytes(bytes)))).toEqual(
      new Set([1476]),
    );
    expect(framing.frameBytes(1443)).toBe(1480);
    for (const wrong of [-1, 65_001, 1.5, Number.NaN])
      expect(() => make({ tfcBytes: wrong })).toThrow("is not 0 to 65000");
  });

  test.each([
    ["IPv4", [0x45, 0, 0, 0, 1, 2, 2, 4], 4],
    ["IPv6, no padding", [0x60, 0, 0, 41], 2],
    ["IPv6, one byte of padding", [0x60, 0, 1, 1, 41], 2],
    ["255 bytes of padding", [0x45, ...new Array<number>(255).fill(0), 255, 4], 1],
    ["a dummy packet", [0x45, 0, 0, 59], 0],
    ["a dummy packet with nonsense for a padding", [0x45, 0, 200, 59], 0],
    ["IPv4 that says IPv6", [0x45, 0, 0, 41], -1],
    ["IPv6 that says IPv4", [0x60, 0, 0, 4], -1],
    ["another next header", [0x45, 0, 0, 42], -1],
    ["transport mode", [0x45, 0, 0, 6], -1],
    ["padding longer than the text", [0x45, 0, 3, 4], -1],
    ["nothing but padding", [0x45, 2, 2, 4], -1],
    ["padding as long as the text", [1, 2, 2, 4], -1],
  ] as [string, number[], number][])("trailer: %s", (_, bytes, expected) => {
    const { arena, framing } = make();
    const at = arena.allocate(300);
    arena.store(at, new Uint8Array(bytes));
    expect(framing.packetBytes(at, bytes.length)).toBe(expected);
  });

  test("not one byte outside of the frame is written, and every one inside that is not the packet's", () => {
    for (const tfcBytes of [0, 64])
      for (const extended of [false, true]) {
        const { arena, framing } = make({ tfcBytes });
        const at = arena.allocate(512) + 64;
        const session = { remoteIndex: 1, salt: 0, extended } as EspSealSession;
        for (let bytes = 0; bytes < 100; bytes++) {
          const frameBytes = framing.frameBytes(bytes);
          arena.u8.fill(0xee, at - 64, at + 448);
          framing.seal(new AeadBatch(arena, "seal"), at, bytes, session, 0);
          const written = (from: number, to: number) =>
            arena.u8.subarray(at + from, at + to).every((byte) => byte !== 0xee);
          const left = (from: number, to: number) =>
            arena.u8.subarray(at + from, at + to).every((byte) => byte === 0xee);
          expect([bytes, left(-64, 0), written(0, 16), left(16, 16 + bytes)]).toEqual([
            bytes,
            true,
            true,
            true,
          ]);
          // The ICV is the AEAD's to write.
          expect([written(16 + bytes, frameBytes - 16), left(frameBytes - 16, 448)]).toEqual([true, true]);
        }
      }
  });

  test("who a datagram is for", () => {
    const { arena, framing } = make();
    const at = arena.allocate(64);
    arena.store(at, new Uint8Array([0xff, 0xee, 0xdd, 0xcc]));
    expect(framing.receiver(at, 36)).toBe(0xffeeddcc);
    for (const bytes of [0, 1, 8, 32, 35]) expect(framing.receiver(at, bytes)).toBe(-1);
    arena.store(at, new Uint8Array(4));
    expect(framing.receiver(at, 64)).toBe(-1);
  });

  test("a number of nothing is never right", () => {
    const { arena, framing } = make();
    const at = arena.allocate(64);
    const session = { extended: false, window: newSequenceWindow(64) } as EspOpenSession;
    expect(framing.counter(at, session)).toBe(-1);
    expect(framing.counter(at, { ...session, extended: true })).toBe(-1);
    arena.view.setUint32(at + 4, 0xffffffff);
    expect(framing.counter(at, session)).toBe(0xffffffff);
    expect(framing.counter(at, { ...session, extended: true })).toBe(-1);
  });

  test("what the hand appends is a trailer", () => {
    expect(trailed(new Uint8Array([0x45, 1, 2]), 4)).toEqual(new Uint8Array([0x45, 1, 2, 1, 2, 3, 3, 4]));
  });
});
