/** Whatever comes from the network: what is decoded is what was sent, nothing throws, and a true exchange comes about all the same. */
import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { bytesOf, expectMirrored, type Ske5End, twoEnds } from "../../../test/support/ske5-ends.ts";
import { decodeDatagram, encodeDatagram, type Ske5Message } from "./datagram.ts";

const seed = newSeed();
describe(`seed ${seed}`, () => {
  const random = new Random(seed);

  test("what is decoded is encoded to the same bytes, but for the reserved ones", () => {
    for (let round = 0; round < 20_000; round++) {
      const bytes = random.bytes(random.pick([7, 8, 11, 12, 13, 75, 76, 77, 87, 88, 89, random.below(120)]));
      if (bytes.length > 4 && random.chance(0.8)) bytes[4] = 10 + random.below(6);
      const decoded = decodeDatagram(bytes);
      if (decoded === undefined) continue;
      bytes.fill(0, 5, 8);
      expect(encodeDatagram(decoded)).toEqual(bytes);
    }
  });

  test("mutated datagrams change nothing that the true ones do not mend", () => {
    for (let round = 0; round < 150; round++) {
      const { left, right } = twoEnds();
      /** Copies that were changed come before and after the true message. */
      const hear = (end: Ske5End, message: Ske5Message): Ske5Message | undefined => {
        const noise = () => {
          for (let n = random.below(4); n > 0; n--) {
            const decoded = decodeDatagram(random.mutate(bytesOf(message)));
            // A nonce or a knock is not authenticated; what is forged of those is tried above.
            if (decoded === undefined || decoded.message.kind === "challenge") continue;
            if (Buffer.compare(bytesOf(decoded.message), bytesOf(message)) === 0) continue;
            end.step({ kind: "message", message: decoded.message });
          }
        };
        noise();
        const send = end.step({ kind: "message", message }).find(({ kind }) => kind === "send");
        const answer = send?.kind === "send" ? decodeDatagram(send.datagram)?.message : undefined;
        noise();
        return answer;
      };
      const challenge = hear(right, left.say({ kind: "begin" })) as Ske5Message;
      const agreement = hear(right, hear(left, challenge) as Ske5Message) as Ske5Message;
      hear(left, agreement);
      expect([left.pairs.length, right.pairs.length]).toEqual([1, 1]);
      expectMirrored(left, right);
    }
  });

  test("random datagrams of any length are read or are nothing, and no end ever throws, begins or ends anything by them", () => {
    const { left, right } = twoEnds();
    const knock = left.say({ kind: "begin" });
    for (let round = 0; round < 5_000; round++) {
      const bytes = random.bytes(random.below(200));
      if (bytes.length > 4 && random.chance(0.9)) bytes[4] = 11 + random.below(4);
      const decoded = decodeDatagram(bytes);
      // A challenge is not authenticated: what takes one is tried above, and a true one may come after it.
      if (decoded === undefined || decoded.message.kind === "challenge") continue;
      for (const end of [left, right]) end.step({ kind: "message", message: decoded.message });
    }
    expect([left.pairs, right.pairs, left.state.initiator.kind]).toEqual([[], [], "accept challenge"]);
    left.step({ kind: "message", message: right.hear(left.hear(right.hear(knock))) });
    expectMirrored(left, right);
  });
});
