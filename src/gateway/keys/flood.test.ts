/** Whoever sends what proves nothing, however much of it, delays nobody who can prove to be the peer. */
import { describe, expect, test } from "bun:test";
import { joined, type Pair } from "../../../test/support/key-pair.ts";
import { SKE5_TYPES } from "../../exchange/ske5/mod.ts";
import { type Endpoint, parseEndpoint } from "../../net/mod.ts";

const [paris, tokyo] = [parseEndpoint("203.0.113.1:303"), parseEndpoint("203.0.113.2:303")];
const stranger = parseEndpoint("198.51.100.66:303");

/** Hands every message of a list to both keepers, many times a second, while keys are changed; returns how often they were. */
function flooded(pair: Pair, messages: readonly (readonly [Uint8Array, Endpoint | undefined])[]): number {
  for (let ms = 0; ms < 45_000; ms += 20) {
    pair.pass(20);
    for (const [bytes, from] of messages)
      for (let n = 0; n < 3; n++)
        for (const side of [0, 1] as const) {
          const to = side === 0 ? paris : tokyo;
          const source = from ?? (side === 0 ? tokyo : paris);
          pair.step(side, { kind: "datagram", queue: 1, from: source, to, bytes: bytes.slice() });
        }
  }
  return pair.seen[0].filter((one) => one.kind === "news" && one.news.kind === "agreed").length;
}

describe("a flood of 150 messages a second of each kind", () => {
  test("ours: forged ones in the peer's name, and the peer's own, recorded and repeated", () => {
    const pair = joined({ protocol: "ours" });
    pair.pass(30_000);
    const recorded = pair.seen.flat().flatMap((one) => (one.kind === "send" ? [one.bytes] : []));
    const forged = [21, 22, 23, 24].map((type) => {
      const bytes = (recorded.find((one) => one[4] === type) as Uint8Array).slice();
      bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
      return [bytes, undefined] as const;
    });
    const repeated = [21, 23, 24].map(
      (type) => [recorded.find((one) => one[4] === type) as Uint8Array, stranger] as const,
    );
    pair.forget();
    expect(flooded(pair, [...forged, ...repeated])).toBeGreaterThanOrEqual(3);
    expect(pair.keepers.map((keeper) => keeper.describe(pair)[0]?.up)).toEqual([true, true]);
    expect(pair.seen[0].filter((one) => one.kind === "news" && one.news.kind === "down")).toEqual([]);
  });

  test("ske5: knocks and proposals in the peer's name, and agreements from elsewhere", () => {
    const pair = joined({ protocol: "ske5" });
    const message = (type: number, length: number) => {
      const bytes = new Uint8Array(length).fill(7);
      new DataView(bytes.buffer).setUint32(0, 1001);
      bytes[4] = type;
      return bytes;
    };
    const flood = [
      [message(SKE5_TYPES.knock, 12), undefined],
      [message(SKE5_TYPES.proposal, 88), undefined],
      [message(SKE5_TYPES.agreement, 88), stranger],
      [message(SKE5_TYPES.challenge, 76), stranger],
    ] as const;
    expect(flooded(pair, flood)).toBeGreaterThanOrEqual(3);
    expect(pair.keepers.map((keeper) => keeper.describe(pair)[0]?.up)).toEqual([true, true]);
    expect(pair.keepers[0].counters.get("negotiations-expired")).toBeUndefined();
  });
});
