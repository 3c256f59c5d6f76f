import { describe, expect, test } from "bun:test";
import { agree, expectMirrored, keyOf, Ske5End, twoEnds } from "../../../test/support/ske5-ends.ts";
import { parseIp } from "../../net/mod.ts";
import type { ExchangeCounter } from "../counter.ts";
import { AEAD_NAME, type Ske5Message } from "./datagram.ts";
import { endSke5, ske5Deadline } from "./machine.ts";

const zeros = (length: number) => new Uint8Array(length);

/** A valid message of each kind for an end in a state, or what stands for it. */
type Move = "begin" | "knock" | "challenge" | "proposal" | "agreement" | "before deadline" | "deadline";
const moves: readonly Move[] = [
  "begin",
  "knock",
  "challenge",
  "proposal",
  "agreement",
  "before deadline",
  "deadline",
];

/** Brings an initiator into a state; `true` messages that the responder would send then. */
function place(name: "initiator" | "accept challenge" | "accept agreement") {
  const { left, right } = twoEnds();
  if (name === "initiator") return { left, right };
  const challenge = right.hear(left.say({ kind: "begin" }));
  if (name === "accept challenge") return { left, right, challenge };
  const agreement = right.hear(left.hear(challenge));
  return { left, right, challenge, agreement };
}

describe("every event in every state of the initiator", () => {
  // What is counted, and the state after it; "-" for nothing at all. Challenge and agreement are the peer's true ones where there are any.
  const table: Record<string, Record<Move, readonly [ExchangeCounter | "-", string]>> = {
    initiator: {
      begin: ["negotiations-initiated", "accept challenge"],
      knock: ["challenges-offered", "initiator"],
      challenge: ["protocol-errors", "initiator"],
      proposal: ["authentication-errors", "initiator"],
      agreement: ["protocol-errors", "initiator"],
      "before deadline": ["-", "initiator"],
      deadline: ["-", "initiator"],
    },
    "accept challenge": {
      begin: ["-", "accept challenge"],
      knock: ["challenges-offered", "accept challenge"],
      challenge: ["challenges-accepted", "accept agreement"],
      proposal: ["authentication-errors", "accept challenge"],
      agreement: ["protocol-errors", "accept challenge"],
      "before deadline": ["-", "accept challenge"],
      deadline: ["negotiations-expired", "initiator"],
    },
    "accept agreement": {
      begin: ["-", "accept agreement"],
      knock: ["challenges-offered", "accept agreement"],
      // The same challenge again.
      challenge: ["protocol-errors", "accept agreement"],
      proposal: ["authentication-errors", "accept agreement"],
      agreement: ["keypairs-negotiated", "initiator"],
      "before deadline": ["-", "accept agreement"],
      deadline: ["negotiations-expired", "initiator"],
    },
  };
  const other = place("accept agreement");
  const strangers: Partial<Record<Move, Ske5Message>> = {
    knock: { kind: "knock", version: 5 },
    challenge: other.challenge as Ske5Message,
    proposal: { kind: "proposal", ephemeral: zeros(32), sealed: zeros(48) },
    agreement: other.agreement as Ske5Message,
  };

  for (const [name, row] of Object.entries(table))
    for (const move of moves)
      test(`${name}: ${move}`, () => {
        const { left, ...true_ } = place(name as "initiator");
        const message =
          (move === "challenge" && "challenge" in true_ && true_.challenge) ||
          (move === "agreement" && "agreement" in true_ && true_.agreement) ||
          strangers[move];
        const before = { ...left.counts };
        if (move === "deadline") left.nowMs = 2000;
        if (move === "before deadline") left.nowMs = 1999;
        if (move === "begin") left.step({ kind: "begin" });
        else if (message === undefined) left.step({ kind: "due" });
        else left.step({ kind: "message", message });
        const changed = Object.keys(left.counts).filter((leaf) => left.counts[leaf] !== before[leaf]);
        expect([changed[0] ?? "-", left.state.initiator.kind]).toEqual([...row[move]]);
        expect(left.pairs.length).toBe(move === "agreement" && name === "accept agreement" ? 1 : 0);
      });
});

describe("the responder", () => {
  test("answers every knock with the same challenge, at any time", () => {
    const { left, right } = twoEnds();
    const knock = left.say({ kind: "begin" });
    const first = right.hear(knock);
    const state = right.state;
    expect(right.hear({ kind: "knock", version: 77 })).toEqual(first);
    expect(right.state).toBe(state);
    right.step({ kind: "begin" });
    expect(right.hear(knock)).toEqual(first);
  });

  test("has another nonce, key and SPI after an exchange, and refuses the proposal of before", () => {
    const { left, right } = twoEnds();
    const first = right.hear(left.say({ kind: "begin" }));
    const proposal = left.hear(first);
    const agreement = right.hear(proposal);
    right.step({ kind: "message", message: proposal });
    expect(right.counts["authentication-errors"]).toBe(1);
    left.step({ kind: "message", message: agreement });
    expectMirrored(left, right);
    const second = right.hear(left.say({ kind: "begin" }));
    expect(second).not.toEqual(first);
    right.step({ kind: "message", message: proposal });
    expect(right.counts["authentication-errors"]).toBe(2);
    right.step({ kind: "message", message: left.hear(second) });
    expect(right.pairs).toHaveLength(2);
    expect(right.pairs[1]?.inbound[0]?.spi).not.toBe(right.pairs[0]?.inbound[0]?.spi);
  });
});

describe("Vita's own tests", () => {
  test("a proposal of zeros, then one with a key of low order, then a good exchange", () => {
    const { left, right } = twoEnds();
    const challenge = right.hear(left.say({ kind: "begin" }));
    right.step({ kind: "message", message: { kind: "proposal", ephemeral: zeros(32), sealed: zeros(48) } });
    expect(right.counts).toMatchObject({ "authentication-errors": 1 });
    // A peer that has the key and sends an ephemeral key of low order.
    const low = new Ske5End(["203.0.113.1", "203.0.113.2"], {
      primitives: {
        ...left.around.primitives,
        privateKey: (secret) => {
          const key = left.around.primitives.privateKey(secret);
          return {
            publicKey: zeros(32),
            agree: (peer) => key.agree(peer),
            [Symbol.dispose]: () => key[Symbol.dispose](),
          };
        },
      },
    });
    low.step({ kind: "begin" });
    right.step({ kind: "message", message: low.hear(challenge) });
    expect(right.counts["public-key-errors"]).toBe(1);
    left.step({ kind: "message", message: right.hear(left.hear(challenge)) });
    expectMirrored(left, right);
  });

  test("a challenge of another version or algorithm is counted, and the good one after it is taken", () => {
    const { left, right } = twoEnds();
    const challenge = right.hear(left.say({ kind: "begin" }));
    if (challenge.kind !== "challenge") throw new Error("no challenge");
    left.step({ kind: "message", message: { ...challenge, version: 0 } });
    const foobar = zeros(32);
    foobar.set(new TextEncoder().encode("foobar"));
    left.step({ kind: "message", message: { ...challenge, aead: foobar as typeof AEAD_NAME } });
    expect(left.counts).toMatchObject({ "version-errors": 1, "parameter-errors": 1 });
    left.step({ kind: "message", message: right.hear(left.hear(challenge)) });
    expectMirrored(left, right);
  });

  test("a bogus agreement, one with a key of low order, then the good one", () => {
    const { left, right } = twoEnds();
    const agreement = right.hear(left.hear(right.hear(left.say({ kind: "begin" }))));
    if (agreement.kind !== "agreement") throw new Error("no agreement");
    const random = new Uint8Array(48).fill(9);
    left.step({ kind: "message", message: { ...agreement, sealed: random } });
    left.step({ kind: "message", message: { ...agreement, ephemeral: zeros(32) } });
    expect(left.counts).toMatchObject({ "authentication-errors": 1, "public-key-errors": 1 });
    left.step({ kind: "message", message: agreement });
    expectMirrored(left, right);
  });

  test("addresses that are others, or the other way round, or another key: authentication errors", () => {
    const pairs = [
      ["203.0.113.9", "203.0.113.1"],
      ["203.0.113.2", "203.0.113.9"],
      ["203.0.113.1", "203.0.113.2"],
      ["203.0.113.1", "203.0.113.1"],
    ] as const;
    for (const addresses of pairs) {
      const { left } = twoEnds();
      const right = new Ske5End(addresses, { spi: 512 });
      right.step({ kind: "message", message: left.hear(right.hear(left.say({ kind: "begin" }))) });
      expect([right.counts["authentication-errors"], right.pairs.length]).toEqual([1, 0]);
    }
    const { left } = twoEnds();
    const right = new Ske5End(["203.0.113.2", "203.0.113.1"], { psk: 8 });
    right.step({ kind: "message", message: left.hear(right.hear(left.say({ kind: "begin" }))) });
    expect(right.counts["authentication-errors"]).toBe(1);
  });

  test("no expiry before the deadline, expiry at it, in both waiting states; the SPI is kept", () => {
    const { left, right } = twoEnds();
    const knock = left.say({ kind: "begin" });
    left.nowMs = 1999;
    left.step({ kind: "due" });
    const proposal = left.hear(right.hear(knock));
    expect(ske5Deadline(left.state)).toBe(3999);
    left.nowMs = 3998;
    left.step({ kind: "due" });
    expect(left.counts["negotiations-expired"]).toBeUndefined();
    left.nowMs = 3999;
    left.step({ kind: "due" });
    expect(left.counts["negotiations-expired"]).toBe(1);
    right.step({ kind: "message", message: proposal });
    agree(left, right);
    expectMirrored(left, right);
    // Both agreements name the same SPI of the initiator: the second replaces the first (outbound-sa-updated).
    expect(right.pairs.map(({ outbound }) => outbound[0]?.spi)).toEqual([256, 256]);
    expect(keyOf(right.pairs[0]?.outbound[0])).not.toBe(keyOf(right.pairs[1]?.outbound[0]));
  });
});

describe("beyond Vita", () => {
  test("a forged challenge that comes first does not make the attempt fail", () => {
    const { left, right } = twoEnds();
    const challenge = right.hear(left.say({ kind: "begin" }));
    if (challenge.kind !== "challenge") throw new Error("no challenge");
    left.hear({ ...challenge, nonce: new Uint8Array(32).fill(1) });
    left.hear({ ...challenge, nonce: new Uint8Array(32).fill(2) });
    left.step({ kind: "message", message: right.hear(left.hear(challenge)) });
    expectMirrored(left, right);
    const again = right.hear(left.say({ kind: "begin" }));
    if (again.kind !== "challenge") throw new Error("no challenge");
    for (let n = 0; n < 4; n++) left.hear({ ...again, nonce: new Uint8Array(32).fill(n) });
    left.step({ kind: "message", message: again });
    expect(left.counts["protocol-errors"]).toBe(1);
  });

  test("what another gateway says is none of the attempt", () => {
    const { left, right } = twoEnds();
    const challenge = right.hear(left.say({ kind: "begin" }));
    const first = left.around;
    const other = { ...first, route: { ...first.route, remote: parseIp("203.0.113.3") } };
    left.around = other;
    expect(left.step({ kind: "message", message: challenge })).toMatchObject([{ leaf: "protocol-errors" }]);
    left.around = first;
    const agreement = right.hear(left.hear(challenge));
    left.around = other;
    left.step({ kind: "message", message: agreement });
    expect([left.counts["protocol-errors"], left.pairs.length]).toEqual([2, 0]);
    left.around = first;
    left.step({ kind: "message", message: agreement });
    expectMirrored(left, right);
  });

  test("works of one kind are not delayed by others, and only the peer uses up handshakes", () => {
    const { left, right } = twoEnds();
    const left_ = { knock: 1, agreement: 5, handshake: 1 };
    const allow = (work: keyof typeof left_) => left_[work]-- > 0;
    left.around = { ...left.around, allow };
    right.around = { ...right.around, allow };
    const challenge = right.hear(left.say({ kind: "begin" }));
    for (let n = 0; n < 1000; n++) {
      right.step({ kind: "message", message: { kind: "knock", version: 5 } });
      const forged = { ephemeral: new Uint8Array(32).fill(n), sealed: zeros(48) };
      right.step({ kind: "message", message: { kind: "proposal", ...forged } });
      right.step({ kind: "message", message: { kind: "agreement", ...forged } });
    }
    expect(left_).toMatchObject({ agreement: 5, handshake: 1 });
    const agreement = right.hear(left.hear(challenge));
    left.step({ kind: "message", message: agreement });
    expect(left_).toMatchObject({ agreement: 4, handshake: 0 });
    expectMirrored(left, right);
  });

  test("an SPI that is reserved is refused", () => {
    const left = new Ske5End(["203.0.113.1", "203.0.113.2"], { spi: 1 });
    const { right } = twoEnds();
    right.step({ kind: "message", message: left.hear(right.hear(left.say({ kind: "begin" }))) });
    expect([right.counts["parameter-errors"], right.pairs.length]).toEqual([1, 0]);
    const agreement = left.hear(right.hear(left.hear(right.say({ kind: "begin" }))));
    expect(right.step({ kind: "message", message: agreement })).toContainEqual({
      kind: "lost",
      reason: "no usable SPI",
    });
    expect([right.counts["parameter-errors"], right.pairs.length]).toEqual([2, 0]);
  });

  test("without an SPI nothing begins, and it is said", () => {
    const end = new Ske5End(["203.0.113.1", "203.0.113.2"], { most: 0 });
    expect(end.step({ kind: "begin" })).toEqual([{ kind: "full" }]);
    expect(end.step({ kind: "message", message: { kind: "knock", version: 5 } })).toEqual([{ kind: "full" }]);
  });

  test("SPIs go back at the end, and a reset keeps the initiator's", () => {
    const { left, right } = twoEnds();
    left.hear(right.hear(left.say({ kind: "begin" })));
    left.hear({ kind: "knock", version: 5 });
    expect(left.spis.taken.size).toBe(2);
    left.step({ kind: "reset" });
    expect([left.spis.taken.size, left.state.initiator]).toEqual([1, { kind: "initiator", spi: 256 }]);
    endSke5(left.state, left.around);
    expect(left.spis.taken.size).toBe(0);
  });
});
