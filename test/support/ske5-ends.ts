/** Two ends of a vita-ske route, whose datagrams a test carries by hand. */
import { expect } from "bun:test";
import { Secret, parseIp } from "../../src/net/mod.ts";
import { type Primitives, systemPrimitives } from "../../src/noise/mod.ts";
import type { AgreedPair, AgreedSa } from "../../src/exchange/mod.ts";
import {
  decodeDatagram,
  encodeDatagram,
  NEW_SKE5,
  type Ske5Around,
  type Ske5Effect,
  type Ske5Event,
  type Ske5Message,
  type Ske5State,
  stepSke5,
} from "../../src/exchange/ske5/mod.ts";
import { FixedSpis } from "./fixed-spis.ts";

/** Ske5End is one of them. */
export class Ske5End {
  state: Ske5State = NEW_SKE5;
  readonly spis: FixedSpis;
  nowMs = 0;
  around: Ske5Around;
  /** What was agreed on, and how often each thing was counted. */
  readonly pairs: AgreedPair[] = [];
  readonly counts: Record<string, number> = {};

  constructor(
    addresses: readonly [local: string, remote: string],
    options: {
      readonly psk?: number;
      readonly spi?: number;
      readonly primitives?: Primitives;
      most?: number;
    } = {},
  ) {
    const [local, remote] = addresses.map(parseIp) as [ReturnType<typeof parseIp>, never];
    const psk = new Secret(new Uint8Array(32).fill(options.psk ?? 7));
    this.spis = new FixedSpis(options.spi ?? 256, options.most);
    this.around = {
      route: { routeSpi: 1001, psk, local, remote, queue: 1, negotiationMs: 2000 },
      primitives: options.primitives ?? systemPrimitives,
      spis: this.spis,
      allow: () => true,
      nowMs: 0,
    };
  }

  step(event: Ske5Event): readonly Ske5Effect[] {
    const [state, effects] = stepSke5(this.state, event, { ...this.around, nowMs: this.nowMs });
    this.state = state;
    for (const effect of effects) {
      if (effect.kind === "agreed") this.pairs.push(effect.pair);
      if (effect.kind === "count") this.counts[effect.leaf] = (this.counts[effect.leaf] ?? 0) + 1;
    }
    return effects;
  }

  /** say steps an event and returns the message that is sent then. */
  say(event: Ske5Event): Ske5Message {
    const send = this.step(event).find((effect) => effect.kind === "send");
    const decoded = send?.kind === "send" ? decodeDatagram(send.datagram) : undefined;
    if (decoded === undefined) throw new Error(`${event.kind}: nothing was sent`);
    return decoded.message;
  }

  /** hear reads a message and returns the answer. */
  hear(message: Ske5Message): Ske5Message {
    return this.say({ kind: "message", message });
  }
}

/** twoEnds returns both ends of one route. */
export function twoEnds(): { readonly left: Ske5End; readonly right: Ske5End } {
  return {
    left: new Ske5End(["203.0.113.1", "203.0.113.2"]),
    right: new Ske5End(["203.0.113.2", "203.0.113.1"], { spi: 512 }),
  };
}

/** agree runs one exchange. */
export function agree(initiator: Ske5End, responder: Ske5End): void {
  const challenge = responder.hear(initiator.say({ kind: "begin" }));
  const agreement = responder.hear(initiator.hear(challenge));
  initiator.step({ kind: "message", message: agreement });
}

/** bytesOf returns the datagram of a message. */
export function bytesOf(message: Ske5Message): Uint8Array<ArrayBuffer> {
  return encodeDatagram({ routeSpi: 1001, message });
}

/** keyOf returns the key material of an association, as hex. */
export function keyOf(sa: AgreedSa | undefined): string {
  return Buffer.from(sa?.keyMaterial.reveal() ?? []).toString("hex");
}

/** expectMirrored expects that both ends have what the other has, the other way round. */
export function expectMirrored(left: Ske5End, right: Ske5End): void {
  const [a, b] = [left.pairs.at(-1), right.pairs.at(-1)];
  expect([a?.inbound[0]?.spi, a?.outbound[0]?.spi]).toEqual([b?.outbound[0]?.spi, b?.inbound[0]?.spi]);
  expect(keyOf(a?.inbound[0])).toBe(keyOf(b?.outbound[0]));
  expect(keyOf(a?.outbound[0])).toBe(keyOf(b?.inbound[0]));
  expect(keyOf(a?.inbound[0])).not.toBe(keyOf(a?.outbound[0]));
}
