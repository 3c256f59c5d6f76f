/** A relay in memory with nodes that shake hands through it, and what its data path would know. */
import { expect } from "bun:test";
import { type Endpoint, parseEndpoint, PrivateKey, publicKeyBytes } from "../../src/net/mod.ts";
import { Relay, type RelayStep } from "../../src/tunnel/relay/mod.ts";
import { macKeys, writeMacs } from "../../src/tunnel/wireguard/mac.ts";
import { systemPrimitives as primitives } from "../../src/tunnel/wireguard/mod.ts";
import { Random } from "./random.ts";

/** OWN_INDEX is one of the hub's own sessions. */
export const OWN_INDEX = 0x77;

/** Someone is a node, its number and its place. */
export interface Someone {
  readonly number: number;
  readonly key: PrivateKey;
  readonly at: Endpoint;
}

/** RelayWorld is a relay with nodes 1, 2, … of class 1 that are all live. */
export class RelayWorld {
  nowMs = 1_000_000;
  readonly random: Random;
  readonly relay = new Relay({ primitives, isOwnIndex: (index) => index === OWN_INDEX });
  readonly hub = PrivateKey.random();
  readonly nodes: Someone[] = [];
  /** What the data path would know. */
  readonly circuits = new Map<string, number>();
  readonly places = new Map<number, string>();

  constructor(
    count: number,
    { seed, classOf = () => 1 }: { readonly seed: number; readonly classOf?: (number: number) => number },
  ) {
    this.random = new Random(seed);
    for (let number = 1; number <= count; number++)
      this.nodes.push({
        number,
        key: PrivateKey.random(),
        at: parseEndpoint(`192.0.2.${number % 250}:${1000 + number}`),
      });
    this.relay.configure({
      enabled: true,
      classes: new Map(this.nodes.map(({ key, number }) => [key.publicKey, classOf(number)])),
    });
    this.relay.own([macKeys(primitives, publicKeyBytes(this.hub.publicKey))]);
    for (const node of this.nodes) this.live(node);
    this.drain();
  }

  node(number: number): Someone {
    return this.nodes[number - 1] as Someone;
  }

  live(
    { number, key }: Someone,
    at: Endpoint | undefined = this.node(number).at,
    {
      untilMs = this.nowMs + 180_000,
      provenMs,
    }: { readonly untilMs?: number; readonly provenMs?: number } = {},
  ): void {
    this.relay.peer(
      number,
      {
        publicKey: key.publicKey,
        macKeys: macKeys(primitives, publicKeyBytes(key.publicKey)),
        ...(at === undefined
          ? {}
          : { live: { endpoint: at, untilMs, ...(provenMs === undefined ? {} : { provenMs }) } }),
      },
      this.nowMs,
    );
    this.drain();
  }

  drain(): readonly RelayStep[] {
    const steps = this.relay.drain();
    for (const step of steps) {
      if (step.kind === "circuit") this.circuits.set(`${step.source} ${step.index}`, step.to);
      else if (step.kind === "cut") this.circuits.delete(`${step.source} ${step.index}`);
      else if (step.kind === "node")
        if (step.endpoint === undefined) this.places.delete(step.node);
        else this.places.set(step.node, `${step.endpoint.ip.value}:${step.endpoint.port}`);
    }
    return steps;
  }

  take(from: Someone | Endpoint, datagram: Uint8Array) {
    const verdict = this.relay.take({ datagram, from: "ip" in from ? from : from.at, nowMs: this.nowMs });
    this.drain();
    return verdict;
  }

  initiation(to: PrivateKey, sender: number): Uint8Array {
    const bytes = this.random.bytes(148);
    bytes.set([1, 0, 0, 0]);
    new DataView(bytes.buffer).setUint32(4, sender, true);
    writeMacs(bytes, { primitives, receiver: macKeys(primitives, publicKeyBytes(to.publicKey)) });
    return bytes;
  }

  response(sender: number, receiver: number): Uint8Array {
    const bytes = this.random.bytes(92);
    bytes.set([2, 0, 0, 0]);
    new DataView(bytes.buffer).setUint32(4, sender, true);
    new DataView(bytes.buffer).setUint32(8, receiver, true);
    return bytes;
  }

  cookie(receiver: number): Uint8Array {
    const bytes = this.random.bytes(64);
    bytes.set([3, 0, 0, 0]);
    new DataView(bytes.buffer).setUint32(4, receiver, true);
    return bytes;
  }

  /** A handshake of two nodes, with these indices. */
  meet(a: Someone, b: Someone, [ofA, ofB]: readonly [number, number]): void {
    expect(this.take(a, this.initiation(b.key, ofA))).toEqual({ to: b.number });
    expect(this.take(b, this.response(ofB, ofA))).toEqual({ to: a.number });
  }
}
