/** The program that marks a pod's good packets, run by the kernel on frames of all kinds, against a model that reads them slowly. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { formatIp, ipBytes, ipFromBytes, type Mac, macBytes, parseIp } from "../../src/net/mod.ts";
import { OWN_MARK, ownMark } from "../../src/pods/mod.ts";
import { loadClassifier, testClassifier } from "../../src/sys/mod.ts";
import { newSeed, Random } from "../support/random.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(60_000);
const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const MAC = 0x0a58_0a01_0102 as Mac;
const ROUNDS = 3_000;

/** What may have the mark: some of what the table in pods/spoofing.ts lets through, and nothing else. */
function isGood(frame: Uint8Array, addresses: ReadonlySet<string>): boolean {
  const ip = (from: number, bytes: 4 | 16) => formatIp(ipFromBytes(frame.subarray(from, from + bytes)));
  if (frame.length < 34 || Buffer.compare(frame.subarray(6, 12), macBytes(MAC)) !== 0) return false;
  switch (((frame[12] ?? 0) << 8) | (frame[13] ?? 0)) {
    case 0x0800:
      return addresses.has(ip(26, 4));
    case 0x86dd:
      return frame.length >= 54 && [6, 17].includes(frame[20] ?? 0) && addresses.has(ip(22, 16));
    default:
      return false;
  }
}

/** A frame that is often nearly a good one. */
function randomFrame(random: Random, own: readonly Uint8Array[]): Uint8Array {
  // The kernel tests nothing on less than an IP header.
  const frame = random.bytes(54 + random.below(60));
  const put = (at: number, bytes: Uint8Array | readonly number[]) => {
    for (const [i, byte] of [...bytes].entries()) if (at + i < frame.length) frame[at + i] = byte;
  };
  const address = (bytes: number) => {
    const some = own.filter(({ length }) => length === bytes);
    const chosen = some.length > 0 && random.chance(0.8) ? random.pick(some) : random.bytes(bytes);
    return random.chance(0.2) ? random.mutate(chosen).subarray(0, bytes) : chosen;
  };
  put(6, random.chance(0.1) ? random.mutate(macBytes(MAC)).subarray(0, 6) : macBytes(MAC));
  const type = random.pick([0x0800, 0x0800, 0x0806, 0x86dd, 0x86dd, 0x8100, 0x88a8, random.below(65_536)]);
  put(12, [type >> 8, type & 255]);
  if (type === 0x0800) put(26, address(4));
  if (type !== 0x86dd) return frame;
  put(20, [random.pick([6, 17, 58, 0, 43, 44, 60, random.below(256)])]);
  put(22, address(16));
  return frame;
}

describe.skipIf(notRoot !== undefined)(`pods: the mark of own packets${suffix}`, () => {
  const seed = newSeed();
  for (const list of [
    ["10.1.1.2"],
    ["fd00:1:1::2"],
    ["10.1.1.2", "fd00:1:1::2"],
    ["10.1.1.2", "10.1.1.3", "fd00::1", "fd00::2"],
  ])
    test(`agrees with the model for ${list.join(", ")} (SEED=${seed})`, () => {
      const random = new Random(seed);
      const addresses = list.map(parseIp);
      const texts = new Set(addresses.map(formatIp));
      const own = addresses.map(ipBytes);
      using program = loadClassifier("own", ownMark({ mac: MAC, addresses }).code);
      let good = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const frame = randomFrame(random, own);
        const mark = isGood(frame, texts) ? OWN_MARK : 0;
        if (mark !== 0) good++;
        // A mark that it comes with counts for nothing.
        const told = testClassifier(program, frame, random.pick([0, 1, OWN_MARK]));
        if (told.verdict !== -1 || told.mark !== mark)
          throw new Error(`${JSON.stringify(told)} for ${Buffer.from(frame).toString("hex")}`);
      }
      expect(good).toBeGreaterThan(ROUNDS / 100);
    });

  test("another pod has another program, the same pod the same", () => {
    const of = (mac: number, ...addresses: string[]) =>
      ownMark({ mac: mac as Mac, addresses: addresses.map(parseIp) }).name;
    expect(of(1, "10.0.0.1")).toBe(of(1, "10.0.0.1"));
    expect(new Set([of(1, "10.0.0.1"), of(2, "10.0.0.1"), of(1, "10.0.0.2")]).size).toBe(3);
  });
});
