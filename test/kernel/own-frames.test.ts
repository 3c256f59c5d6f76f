/** The program of a pod's own addresses, run by the kernel on frames of all kinds, against a model that reads them slowly. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { formatIp, ipBytes, ipFromBytes, type Mac, macBytes, parseIp } from "../../src/net/mod.ts";
import { FRAME_VERDICT, ownFrames } from "../../src/pods/mod.ts";
import { loadClassifier, testClassifier } from "../../src/sys/mod.ts";
import { newSeed, Random } from "../support/random.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(60_000);
const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const MAC = 0x0a58_0a01_0102 as Mac;
const ROUNDS = 5_000;

/** What the table in pods/spoofing.ts says, field by field. */
function mayPass(frame: Uint8Array, addresses: ReadonlySet<string>): boolean {
  const at = (from: number, bytes: number) => frame.subarray(from, from + bytes);
  const ip = (from: number, bytes: 4 | 16) => formatIp(ipFromBytes(at(from, bytes)));
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (frame.length < 34 || Buffer.compare(at(6, 6), macBytes(MAC)) !== 0) return false;
  switch (view.getUint16(12)) {
    case 0x0800:
      return addresses.has(ip(26, 4));
    case 0x0806:
      return (
        frame.length >= 42 &&
        Buffer.compare(at(14, 6), Uint8Array.of(0, 1, 8, 0, 6, 4)) === 0 &&
        Buffer.compare(at(22, 6), macBytes(MAC)) === 0 &&
        addresses.has(ip(28, 4))
      );
    case 0x86dd: {
      if (frame.length < 54) return false;
      const upper = upperOf(view);
      if (upper === undefined) return false;
      const isOwn = (from: number) =>
        addresses.has(ip(from, 16)) || (view.getUint16(from) & 0xffc0) === 0xfe80;
      const type = upper.at === undefined ? 0 : view.getUint8(upper.at);
      if (type === 134 || type === 137) return false;
      if (type === 136 && !((upper.at ?? 0) + 24 <= frame.length && isOwn((upper.at ?? 0) + 8))) return false;
      return isOwn(22) || (ip(22, 16) === "::" && [131, 135, 143].includes(type));
    }
    default:
      return false;
  }
}

/** Where ICMPv6 is, if there is any; undefined when that cannot be known. */
function upperOf(view: DataView): { readonly at?: number } | undefined {
  let [next, at] = [view.getUint8(20), 54];
  for (let headers = 0; [0, 43, 44, 51, 60].includes(next); headers++) {
    if (headers === 4 || at + (next === 44 ? 4 : 2) > view.byteLength) return undefined;
    if (next === 44 && (view.getUint16(at + 2) & 0xfff8) !== 0) return {};
    const words = view.getUint8(at + 1);
    const length = next === 44 ? 8 : next === 51 ? 4 * words + 8 : 8 * words + 8;
    [next, at] = [view.getUint8(at), at + length];
  }
  if (next !== 58) return {};
  return at < view.byteLength ? { at } : undefined;
}

/** A frame that is often nearly a good one. */
function randomFrame(random: Random, own: readonly Uint8Array[]): Uint8Array {
  // The kernel tests nothing on less than an IP header.
  const frame = random.bytes(54 + random.below(90));
  const put = (at: number, bytes: Uint8Array | readonly number[]) => {
    for (const [i, byte] of [...bytes].entries()) if (at + i < frame.length) frame[at + i] = byte;
  };
  const address = (bytes: number) => {
    const some = own.filter(({ length }) => length === bytes);
    const chosen = some.length > 0 && random.chance(0.7) ? random.pick(some) : random.bytes(bytes);
    if (bytes === 16 && random.chance(0.2)) return new Uint8Array(16);
    if (bytes === 16 && random.chance(0.2))
      return Uint8Array.of(0xfe, 0x80 | random.below(64), ...random.bytes(14));
    return random.chance(0.1) ? random.mutate(chosen).subarray(0, bytes) : chosen;
  };
  if (random.chance(0.95)) put(6, macBytes(MAC));
  const type = random.pick([0x0800, 0x0806, 0x86dd, 0x86dd, 0x86dd, 0x8100, random.below(65_536)]);
  put(12, [type >> 8, type & 255]);
  if (type === 0x0800) put(26, address(4));
  if (type === 0x0806) {
    put(14, [0, 1, 8, 0, 6, 4]);
    if (random.chance(0.1)) put(14 + random.below(6), random.bytes(1));
    if (random.chance(0.9)) put(22, macBytes(MAC));
    put(28, address(4));
  }
  if (type !== 0x86dd) return frame;
  put(22, address(16));
  let [field, at] = [20, 54];
  for (let headers = random.pick([0, 0, 0, 1, 2, 4, 5]); headers > 0; headers--) {
    const header = random.pick([0, 43, 44, 51, 60]);
    put(field, [header]);
    const words = random.pick([0, 0, 1]);
    put(at, [0, words, 0, random.pick([0, 0, 1, 8])]);
    [field, at] = [at, at + (header === 44 ? 8 : header === 51 ? 4 * words + 8 : 8 * words + 8)];
  }
  put(field, [random.pick([58, 58, 58, 17, random.below(256)])]);
  put(at, [random.pick([131, 134, 135, 136, 136, 137, 143, random.below(256)])]);
  put(at + 8, address(16));
  return frame;
}

describe.skipIf(notRoot !== undefined)(`pods: the program of own addresses${suffix}`, () => {
  const seed = newSeed();
  for (const list of [
    [],
    ["10.1.1.2"],
    ["10.1.1.2", "fd00:1:1::2"],
    ["10.1.1.2", "10.1.1.3", "fd00::1", "fd00::2"],
  ])
    test(`agrees with the model for ${list.length === 0 ? "no address" : list.join(", ")} (SEED=${seed})`, () => {
      const random = new Random(seed);
      const addresses = list.map(parseIp);
      const own = addresses.map(ipBytes);
      using program = loadClassifier("own", ownFrames({ mac: MAC, addresses }).code);
      let passed = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const frame = randomFrame(random, own);
        const expected = mayPass(frame, new Set(addresses.map(formatIp)));
        const verdict = testClassifier(program, frame);
        if (expected) passed++;
        if (verdict !== (expected ? FRAME_VERDICT.pass : FRAME_VERDICT.drop))
          throw new Error(`${expected}: ${verdict} for ${Buffer.from(frame).toString("hex")}`);
      }
      expect(passed).toBeGreaterThan(ROUNDS / 100);
    });

  test("another pod has another program, the same pod the same", () => {
    const of = (mac: number, ...addresses: string[]) =>
      ownFrames({ mac: mac as Mac, addresses: addresses.map(parseIp) }).name;
    expect(of(1, "10.0.0.1")).toBe(of(1, "10.0.0.1"));
    expect(new Set([of(1, "10.0.0.1"), of(2, "10.0.0.1"), of(1, "10.0.0.2"), of(1)]).size).toBe(4);
  });
});
