/**
 * Datagrams and keys of a real Vita (commit 99c85b24c) with known random numbers: both roles, both families, byte by byte. And the
 * primitives' values of its own self-test.
 */
import { describe, expect, test } from "bun:test";
import { FixedSpis } from "../../../test/support/fixed-spis.ts";
import { kdf, type Primitives, systemPrimitives } from "../../noise/mod.ts";
import { parseIp, Secret } from "../../net/mod.ts";
import { decodeDatagram } from "./datagram.ts";
import { stepSke5 } from "./machine.ts";
import { NEW_SKE5, type Ske5Around, type Ske5Effect, type Ske5Event, type Ske5State } from "./state.ts";

const unhex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex").toUpperCase();
const row = (from: number) => Uint8Array.from({ length: 32 }, (_, i) => from + i);
const join = (...lines: string[]) => lines.join("");

const vectors = [
  {
    name: "A (IPv4)",
    routeSpi: 1001,
    addresses: ["203.0.113.1", "203.0.113.2"],
    nonce: row(0x10),
    secrets: [row(0x30), row(0x20)],
    spis: [256, 257],
    knock: "000003E90B00000000000005",
    challenge: join(
      "000003E90C000000000000056165732D67636D2D31362D696376000000000000000000000000000000000000",
      "101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F",
    ),
    proposal: join(
      "000003E90D000000",
      "34E42D4AF5EF94A07A3A84201B889D4CD1A743CB27B11B6A10438A8FEB8E5847",
      "AA264F4A32F553A2A902AD82B7ADE604F347B950EBCAE03FD2FE4CBBD037120C",
      "901FB664B94628D812389B639A99D10E",
    ),
    agreement: join(
      "000003E90E000000",
      "358072D6365880D1AEEA329ADF9121383851ED21A28E3B75E965D0D2CD166254",
      "84A5A4DFBF4599BA184A90E54D947618C6C3E3F22D535BEF273C580EF5E1CB16",
      "E29F13E3E1D944A62E3DA6902AE1CE88",
    ),
    toInitiator: { spi: 256, material: "9325A0113626D2650010DC5D20A4ECEC7D59B522" },
    toResponder: { spi: 257, material: "0CE125DCD6D26051C51CBA0D836BC9A84C915327" },
  },
  {
    name: "B (IPv6)",
    routeSpi: 1002,
    addresses: ["2001:db8::1", "2001:db8::2"],
    nonce: row(0x60),
    secrets: [row(0x80), row(0x70)],
    spis: [260, 261],
    knock: "000003EA0B00000000000005",
    challenge: join(
      "000003EA0C000000000000056165732D67636D2D31362D696376000000000000000000000000000000000000",
      "606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F",
    ),
    proposal: join(
      "000003EA0D000000",
      "493E82FC74464A59268817623D2053C5EB8E2CC4A988B4FEE179EC6B010D531D",
      "9A4FB1E2330167DF53AFA7C73C28348A7AE04B1BF45F1A22A390DBD4D80BD184",
      "429B9B4C85CED8C99EE57C3F64DFC4AC",
    ),
    agreement: join(
      "000003EA0E000000",
      "23B7BB8C91AE008711FB12846780BCDF1E065F821BDFEC49F57E7C7DCD4C4823",
      "6B472D9D2C2008A495BE48F0868D59737511287704454B943A8BE7D96FA92F92",
      "11CD904F41CEE1978623C47BB381F9C7",
    ),
    toInitiator: { spi: 260, material: "1EAA1F6A58E2F056CA23C18C5806C61CD5C6937D" },
    toResponder: { spi: 261, material: "FFF50E7BD7D71D7CEC99DB44BE7F00765A57E1BA" },
  },
] as const;

/** Random numbers that are handed out in order. */
function drawing(...draws: readonly Uint8Array[]): Primitives {
  const rest = [...draws];
  return {
    ...systemPrimitives,
    random(length) {
      const next = rest.shift();
      if (next?.length !== length) throw new Error(`${length} random bytes were not expected`);
      return new Uint8Array(next);
    },
  };
}

/** One side, and what it has asked for. */
class Side {
  state: Ske5State = NEW_SKE5;
  readonly around: Ske5Around;

  constructor(around: Ske5Around) {
    this.around = around;
  }

  step(event: Ske5Event): readonly Ske5Effect[] {
    const [state, effects] = stepSke5(this.state, event, this.around);
    this.state = state;
    return effects;
  }

  /** Hands over the datagram of effects. */
  read(effects: readonly Ske5Effect[]): readonly Ske5Effect[] {
    const decoded = decodeDatagram(sent(effects));
    if (decoded === undefined) throw new Error("no datagram");
    expect(decoded.routeSpi).toBe(this.around.route.routeSpi);
    return this.step({ kind: "message", message: decoded.message });
  }
}

function sent(effects: readonly Ske5Effect[]): Uint8Array {
  const send = effects.find((effect) => effect.kind === "send");
  if (send?.kind !== "send") throw new Error("nothing was sent");
  return send.datagram;
}

function agreedBy(effects: readonly Ske5Effect[]) {
  const agreed = effects.find((effect) => effect.kind === "agreed");
  if (agreed?.kind !== "agreed") throw new Error("nothing was agreed on");
  const { inbound, outbound } = agreed.pair;
  const shown = (sa: (typeof inbound)[number] | undefined) => ({
    spi: sa?.spi,
    material: hex(sa?.keyMaterial.reveal() ?? new Uint8Array(0)),
  });
  return { inbound: shown(inbound[0]), outbound: shown(outbound[0]) };
}

describe("a real Vita's exchange", () => {
  for (const vector of vectors)
    test(vector.name, () => {
      const [left, right] = vector.addresses.map(parseIp) as [ReturnType<typeof parseIp>, never];
      const common = { routeSpi: vector.routeSpi, psk: new Secret(row(0)), queue: 1, negotiationMs: 5000 };
      const initiator = new Side({
        route: { ...common, local: left, remote: right },
        primitives: drawing(vector.secrets[0]),
        spis: new FixedSpis(vector.spis[0]),
        allow: () => true,
        nowMs: 0,
      });
      const responder = new Side({
        route: { ...common, local: right, remote: left },
        primitives: drawing(vector.nonce, vector.secrets[1]),
        spis: new FixedSpis(vector.spis[1]),
        allow: () => true,
        nowMs: 0,
      });
      const knock = initiator.step({ kind: "begin" });
      const challenge = responder.read(knock);
      const proposal = initiator.read(challenge);
      const agreement = responder.read(proposal);
      const end = initiator.read(agreement);
      expect([knock, challenge, proposal, agreement].map((effects) => hex(sent(effects)))).toEqual([
        vector.knock,
        vector.challenge,
        vector.proposal,
        vector.agreement,
      ]);
      const { toInitiator, toResponder } = vector;
      expect(agreedBy(end)).toEqual({ inbound: toInitiator, outbound: toResponder });
      expect(agreedBy(agreement)).toEqual({ inbound: toResponder, outbound: toInitiator });
      // Ready to receive first, then the agreement.
      expect(agreement.map(({ kind }) => kind)).toEqual(["agreed", "send", "count"]);
      // The Split of Noise would begin so in vector A.
      expect(JSON.stringify([agreedBy(end), agreedBy(agreement)])).not.toContain("E197BCF880AB4119");
    });
});

describe("primitives of Vita's self-test", () => {
  test("HMAC-BLAKE2s", () => {
    const key = new Uint8Array(32).fill("0".charCodeAt(0));
    expect(hex(systemPrimitives.hmac(key, new TextEncoder().encode("test")))).toBe(
      "51477CC5BDF1FAF952CF97BB934EE936DE1F4D5D7448A84EEB6F98D23B392166",
    );
  });

  test("HKDF-BLAKE2s", () => {
    const [first] = kdf(systemPrimitives, new Uint8Array(32), { input: new Uint8Array(32), count: 2 });
    expect(hex(first?.subarray(0, 13) ?? new Uint8Array(0))).toBe("1090894613DF8AEF670B0B867E");
  });
});

test("a text is read as it was written", () => {
  for (const vector of vectors)
    for (const text of [vector.knock, vector.challenge, vector.proposal, vector.agreement])
      expect(decodeDatagram(unhex(text))?.routeSpi).toBe(vector.routeSpi);
});
