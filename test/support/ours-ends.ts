/** Two ends of a route of our own exchange, whose datagrams a test carries by hand. */
import { type Endpoint, parseEndpoint, PrivateKey, Secret } from "../../src/net/mod.ts";
import { type Primitives, systemPrimitives } from "../../src/noise/mod.ts";
import type { SaAlgorithm } from "../../src/exchange/mod.ts";
import {
  NEW_OURS,
  type OursAround,
  type OursEffect,
  type OursEvent,
  oursParty,
  type OursRole,
  type OursState,
  type OursTerms,
  type Path,
  stepOurs,
} from "../../src/exchange/ours/mod.ts";
import { FixedSpis } from "./fixed-spis.ts";

/** EndOptions are what a test may want to be different. */
export interface EndOptions {
  readonly terms: OursTerms;
  readonly endpoint: Endpoint;
  readonly algorithms?: readonly SaAlgorithm[];
  readonly queues?: readonly number[];
  readonly boot?: number;
  readonly lifeMs?: number;
  readonly primitives?: Primitives;
  readonly mostSpis?: number;
}

/** OursEnd is one of them. */
export class OursEnd {
  state: OursState = NEW_OURS;
  nowMs = 1000;
  readonly endpoint: Endpoint;
  readonly spis: FixedSpis;
  readonly counts: Record<string, number> = {};
  readonly effects: OursEffect[] = [];
  /** Curve operations so far. */
  curveOperations = 0;
  /** How many handshakes may be worked on. */
  handshakes = Number.POSITIVE_INFINITY;
  #around: Omit<OursAround, "nowMs">;

  constructor(options: EndOptions) {
    const base = options.primitives ?? systemPrimitives;
    const party = oursParty(base, options.terms);
    const primitives: Primitives = {
      ...base,
      privateKey: (secret) => {
        this.curveOperations++;
        return base.privateKey(secret);
      },
    };
    const counting = ({ key, ...role }: OursRole): OursRole => ({
      ...role,
      key: {
        publicKey: key.publicKey,
        agree: (peer: Uint8Array) => {
          this.curveOperations++;
          return key.agree(peer);
        },
        [Symbol.dispose]: () => key[Symbol.dispose](),
      },
    });
    this.endpoint = options.endpoint;
    this.spis = new FixedSpis(4096, options.mostSpis);
    this.#around = {
      party: { ...party, initiator: counting(party.initiator), responder: counting(party.responder) },
      primitives,
      spis: this.spis,
      timing: { probeMs: 150, deadMs: 450, negotiationMs: 5000, lifeMs: options.lifeMs ?? 600_000 },
      algorithms: options.algorithms ?? ["aes-256-gcm"],
      queues: options.queues ?? [1],
      boot: new Uint8Array(8).fill(options.boot ?? 1),
      allow: () => this.handshakes-- > 0,
    };
  }

  /** retime has another configuration say how long sessions live. */
  retime(lifeMs: number): void {
    this.#around = { ...this.#around, timing: { ...this.#around.timing, lifeMs } };
  }

  step(event: OursEvent): readonly OursEffect[] {
    const [state, effects] = stepOurs(this.state, event, { ...this.#around, nowMs: this.nowMs });
    this.state = state;
    this.effects.push(...effects);
    for (const effect of effects)
      if (effect.kind === "count") this.counts[effect.leaf] = (this.counts[effect.leaf] ?? 0) + 1;
    return effects;
  }

  begin(to: OursEnd): readonly OursEffect[] {
    return this.step({ kind: "begin", path: { local: this.endpoint, remote: to.endpoint } });
  }

  hear(datagram: Uint8Array, from: Endpoint): readonly OursEffect[] {
    const path: Path = { local: this.endpoint, remote: from };
    return this.step({ kind: "datagram", datagram, path });
  }

  /** last returns the last effect of a kind. */
  last<K extends OursEffect["kind"]>(kind: K): Extract<OursEffect, { readonly kind: K }> {
    const effect = this.effects.findLast((one) => one.kind === kind);
    if (effect === undefined) throw new Error(`there was no ${kind}`);
    return effect as Extract<OursEffect, { readonly kind: K }>;
  }
}

/** sentBy returns the datagrams of effects. */
export function sentBy(effects: readonly OursEffect[]): Uint8Array[] {
  return effects.flatMap((effect) => (effect.kind === "send" ? [effect.datagram] : []));
}

/** only returns the one datagram of effects. */
export function only(effects: readonly OursEffect[]): Uint8Array {
  const [datagram, ...rest] = sentBy(effects);
  if (datagram === undefined || rest.length > 0) throw new Error(`${rest.length + 1} datagrams, not one`);
  return datagram;
}

/** carry hands datagrams to and fro until there are none; returns how many there were. */
export function carry(from: OursEnd, to: OursEnd, effects: readonly OursEffect[]): number {
  let datagrams = 0;
  for (const datagram of sentBy(effects)) {
    if (++datagrams > 50) throw new Error("there is no end to it");
    datagrams += carry(to, from, to.hear(datagram, from.endpoint));
  }
  return datagrams;
}

/** Trust says by what the ends know each other. */
export type Trust = "public keys" | "public keys and pre-shared key" | "pre-shared key";

const psk = new Secret(new Uint8Array(32).fill(3));
const keys = [PrivateKey.random(), PrivateKey.random()] as const;

/** termsOf returns what one of the two ends was told. */
export function termsOf(side: 0 | 1, trust: Trust = "public keys"): OursTerms {
  const common = { route: 77, family: "both" } as const;
  if (trust === "pre-shared key") return { ...common, trust: { kind: trust, psk } };
  return {
    ...common,
    trust: {
      kind: "public keys",
      privateKey: keys[side],
      remote: keys[side === 0 ? 1 : 0].publicKey,
      ...(trust === "public keys" ? {} : { psk }),
    },
  };
}

/** endOf makes one of the two ends. */
export function endOf(side: 0 | 1, options: Partial<EndOptions> = {}): OursEnd {
  const endpoint = parseEndpoint(side === 0 ? "203.0.113.1:4500" : "203.0.113.2:4500");
  return new OursEnd({ terms: termsOf(side), boot: 10 + side, endpoint, ...options });
}
