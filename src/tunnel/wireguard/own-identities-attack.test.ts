/** What somebody who knows both public keys, or plays back what he recorded, can do to a device of two identities: nothing, and at no more cost. */
import { describe, expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { type End, Network, peerOf, seeded } from "../../../test/support/wireguard-ends.ts";
import { type Endpoint, ip, PrivateKey } from "../../net/mod.ts";
import { readReply } from "./cookie.ts";
import { LOAD_BURST } from "./limits.ts";
import { macKeys, writeMacs } from "./mac.ts";
import { decodeMessage, encodeMessage, MESSAGE_BYTES } from "./message.ts";
import { receiveDatagram } from "./slow-path.ts";

const seed = newSeed();
const ELSEWHERE: Endpoint = { ip: ip(4, 0xc6336401n), port: 4_000 };

/** A hub that has changed its key, and a peer of each kind. */
class Changed implements Disposable {
  readonly network = new Network(seed);
  readonly hub = this.network.add("hub");
  /** Knows the key before. */
  readonly old = this.network.add("old");
  /** Knows the present one. */
  readonly fresh = this.network.add("fresh");
  readonly next = new PrivateKey(this.network.random.bytes(32));
  /** Initiations as they left, by who sent them. */
  readonly initiations = new Map<End, Uint8Array<ArrayBuffer>[]>();

  constructor() {
    const { network, hub, old, fresh, next } = this;
    network.onDatagram = ({ from, bytes }) => {
      const end = network.ends.find(({ endpoint }) => endpoint.port === from.port && endpoint.ip === from.ip);
      if (end !== undefined && bytes.length === MESSAGE_BYTES.initiation)
        this.initiations.set(end, [...(this.initiations.get(end) ?? []), Uint8Array.from(bytes)]);
      return true;
    };
    network.step(hub, { kind: "configure", configuration: { privateKey: next, formerKey: hub.key } });
    network.meet(hub, old, { known: "by a" });
    network.introduce(hub, fresh, { unknown: true });
    network.introduce(old, hub);
    network.introduce(fresh, { ...hub, key: next });
  }

  /** One packet of each: both have a session. */
  talk(number: number): void {
    const { network, hub, old, fresh } = this;
    for (const one of [old, fresh]) network.send(one, hub, number);
    network.pass(100);
  }

  /** What the hub does about a datagram from elsewhere. */
  offer(bytes: Uint8Array) {
    const { hub, network } = this;
    return receiveDatagram(hub.device, bytes, { ...network.clock(hub), from: ELSEWHERE });
  }

  [Symbol.dispose](): void {
    this.network[Symbol.dispose]();
  }
}

/** An initiation of nobody's whose mac1 is right. */
function forged(network: Network, receiver: PrivateKey, macs: { readonly cookie?: Uint8Array } = {}) {
  const { random } = network;
  const bytes = encodeMessage({
    kind: "initiation",
    sender: random.u32(),
    ephemeral: random.bytes(32),
    static: random.bytes(48),
    timestamp: random.bytes(28),
    mac1: new Uint8Array(16),
    mac2: new Uint8Array(16),
  });
  const primitives = seeded(random);
  const mac1 = writeMacs(bytes, { primitives, receiver: macKeys(primitives, keyBytes(receiver)), ...macs });
  return { bytes, mac1 };
}

const keyBytes = (key: PrivateKey) => Buffer.from(key.publicKey, "base64");

describe(`two identities under attack, seed ${seed}`, () => {
  test("initiations for either, changed in any place, do nothing", () => {
    using changed = new Changed();
    const { network, hub, old, fresh } = changed;
    changed.talk(1);
    const before = hub.device.counts();
    for (const end of [old, fresh]) {
      const [original] = changed.initiations.get(end) ?? [];
      if (original === undefined) throw new Error(`${end.name} sent no initiation`);
      for (let at = 0; at < original.length - 16; at++) {
        const bytes = Uint8Array.from(original);
        bytes[at] = (bytes[at] as number) ^ (1 << network.random.below(8));
        expect(changed.offer(bytes)).toMatchObject({ datagrams: [], packets: [] });
      }
      for (let i = 0; i < 2_000; i++) {
        const bytes = network.random.mutate(original);
        const isSame = Buffer.compare(bytes.subarray(0, -16), original.subarray(0, -16)) === 0;
        if (!isSame) expect(changed.offer(bytes)).toMatchObject({ datagrams: [], packets: [] });
      }
    }
    expect(hub.device.counts()).toEqual({ ...before, sources: hub.device.counts().sources });
    changed.talk(2);
    expect(hub.heard).toEqual([1, 1, 2, 2]);
  });

  test("what was played back is not answered, and moves nobody back to the key before", () => {
    using changed = new Changed();
    const { network, hub, old, fresh, next } = changed;
    changed.talk(1);
    // It learns of the present key.
    network.step(old, { kind: "configure", configuration: { replacePeers: true } });
    network.introduce(old, { ...hub, key: next });
    network.pass(1_000);
    changed.talk(2);
    expect(peerOf(hub, old.key.publicKey)?.former).toBeUndefined();
    for (const end of [old, fresh])
      for (const bytes of changed.initiations.get(end) ?? [])
        expect(changed.offer(bytes)).toMatchObject({ datagrams: [], packets: [] });
    expect(peerOf(hub, old.key.publicKey)?.former).toBeUndefined();
    expect(peerOf(hub, old.key.publicKey)?.endpoint).toEqual(old.endpoint);
    changed.talk(3);
    expect(hub.heard).toEqual([1, 1, 2, 2, 3, 3]);
  });

  test("an initiation that is sealed for one and has the mac1 of the other is nobody's", () => {
    using changed = new Changed();
    const { network, old, next } = changed;
    let original: Uint8Array<ArrayBuffer> | undefined;
    network.onDatagram = ({ bytes }) => {
      original = Uint8Array.from(bytes);
      return false;
    };
    network.send(old, changed.hub, 1);
    const bytes = Uint8Array.from(original as never as Uint8Array);
    bytes.fill(0, -32);
    const primitives = seeded(network.random);
    writeMacs(bytes, { primitives, receiver: macKeys(primitives, keyBytes(next)) });
    expect(changed.offer(bytes)).toMatchObject({ datagrams: [], packets: [] });
    // As it left, it is answered.
    expect(changed.offer(original as never as Uint8Array).datagrams.length).toBe(1);
  });

  test("load counts for both together, and each has cookies of its own", () => {
    using changed = new Changed();
    const { network, hub, next } = changed;
    const primitives = seeded(network.random);
    // Half to each: together they are too many.
    for (let i = 0; i < LOAD_BURST; i++)
      expect(changed.offer(forged(network, i % 2 === 0 ? next : hub.key).bytes).datagrams).toEqual([]);
    const cookies = [next, hub.key].map((key) => {
      const { bytes, mac1 } = forged(network, key);
      const [reply] = changed.offer(bytes).datagrams;
      const message = reply === undefined ? undefined : decodeMessage(reply.bytes);
      if (message?.kind !== "cookie") throw new Error("no cookie came");
      const other = key === next ? hub.key : next;
      const open = (of: PrivateKey) =>
        readReply(primitives, message, { mac1, key: macKeys(primitives, keyBytes(of)).cookie });
      expect(open(other)).toBeUndefined();
      return open(key) as Uint8Array;
    });
    const [ofNext, ofFormer] = cookies as [Uint8Array, Uint8Array];
    expect(Buffer.compare(ofNext, ofFormer)).not.toBe(0);
    // With the right one a message passes, and comes to nothing; with the other one a cookie is all there is.
    expect(changed.offer(forged(network, next, { cookie: ofNext }).bytes).datagrams).toEqual([]);
    expect(changed.offer(forged(network, hub.key, { cookie: ofFormer }).bytes).datagrams).toEqual([]);
    for (const [key, cookie] of [
      [next, ofFormer],
      [hub.key, ofNext],
    ] as const) {
      const [reply] = changed.offer(forged(network, key, { cookie }).bytes).datagrams;
      expect(reply?.bytes.length).toBe(MESSAGE_BYTES.cookie);
    }
  });
});
