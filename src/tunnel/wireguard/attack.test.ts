/** 100,000 bad handshakes: what they cost, what they leave behind, and what an established flow notices of them. Work is counted, not timed. */
import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { type End, Network, seeded } from "../../../test/support/wireguard-ends.ts";
import { Hand } from "../../../test/support/wireguard-hand.ts";
import { type Endpoint, ip, publicKeyBytes } from "../../net/mod.ts";
import { LOAD_BURST, LOAD_PER_SECOND, MAX_SOURCES, SOURCE_BURST, SOURCE_PER_SECOND } from "./limits.ts";
import { macKeys, writeMacs } from "./mac.ts";
import type { Primitives } from "../../noise/mod.ts";

const FLOOD = 100_000;

/** Primitives that count. */
function counting(primitives: Primitives) {
  const counts = { curve: 0, mac: 0, reply: 0, open: 0 };
  const counted: Primitives = {
    ...primitives,
    privateKey: (secret) => {
      const key = primitives.privateKey(secret);
      counts.curve++;
      return {
        publicKey: key.publicKey,
        agree: (peer) => {
          counts.curve++;
          return key.agree(peer);
        },
        [Symbol.dispose]: () => key[Symbol.dispose](),
      };
    },
    mac: (key, data) => {
      counts.mac++;
      return primitives.mac(key, data);
    },
    sealLong: (plaintext, aead) => {
      counts.reply++;
      return primitives.sealLong(plaintext, aead);
    },
    open: (sealed, aead) => {
      counts.open++;
      return primitives.open(sealed, aead);
    },
  };
  return { counts, primitives: counted };
}

/** A victim with an established peer, and what an attacker knows: the victim's public key. */
function scene(seed: number) {
  const network = new Network(seed);
  const { counts, primitives } = counting(seeded(network.random));
  const victim = network.add("victim", { primitives });
  const friend = network.add("friend");
  network.weather = { delayMs: 10 };
  network.meet(victim, friend);
  network.send(friend, victim, 0);
  network.pass(1000);
  expect(victim.heard).toEqual([0]);
  Object.assign(counts, { curve: 0, mac: 0, reply: 0, open: 0 });
  const random = new Random(seed + 1);
  const receiver = macKeys(primitives, publicKeyBytes(victim.key.publicKey));
  /** A message with a good mac1 and nothing else that is good. */
  const withMac1 = (type: 1 | 2, length: 148 | 92) => {
    const bytes = random.bytes(length);
    bytes.set([type, 0, 0, 0]);
    writeMacs(bytes, { primitives: network.ends[1]?.device.primitives as Primitives, receiver });
    return bytes;
  };
  const source = (): Endpoint => ({ ip: ip(4, BigInt(random.u32())), port: 1 + random.below(65_535) });
  /** So many messages, to be sent again and again: making each anew would take longer than the test. */
  const pool = <T>(make: () => T): readonly T[] => Array.from({ length: 1000 }, make);
  return {
    network,
    victim,
    friend,
    random,
    counts,
    withMac1,
    source,
    pool,
    [Symbol.dispose]: () => network[Symbol.dispose](),
  };
}

/** Sends bad datagrams in so many seconds, and packets both ways between them; returns the bytes that left for others than the friend. */
function flood(
  { network, victim, friend }: { network: Network; victim: End; friend: End },
  options: { seconds: number; count?: number; bad: () => { bytes: Uint8Array; from: Endpoint } },
) {
  const { seconds, count = FLOOD, bad } = options;
  const answers = { count: 0, bytes: 0 };
  network.onDatagram = ({ to, bytes }) => {
    if (to.port === 51820 && network.ends.some(({ endpoint }) => endpoint.ip.value === to.ip.value))
      return true;
    answers.count++;
    answers.bytes += bytes.length;
    return false;
  };
  let number = 0;
  for (let i = 0; i < count; i++) {
    const { bytes, from } = bad();
    network.deliver(victim, bytes, from);
    if (i % 500 === 0) {
      number++;
      network.send(friend, victim, number);
      network.send(victim, friend, number);
    }
    if (i % 10 === 0) network.pass((seconds * 10_000) / count);
  }
  network.onDatagram = undefined;
  network.pass(100);
  // Not one packet of the established flow was lost.
  expect(victim.heard).toHaveLength(number + 1);
  expect(friend.heard).toHaveLength(number);
  return answers;
}

const seed = newSeed();
describe(`100,000 datagrams in a second (seed ${seed})`, () => {
  test("that do not know our public key: one code each, no answer, no trace", () => {
    using all = scene(seed);
    const { victim, random, counts, source, pool } = all;
    const before = victim.device.counts();
    const messages = pool(() => {
      const bytes = random.bytes(148);
      bytes.set([1, 0, 0, 0]);
      return bytes;
    });
    const answers = flood(all, { seconds: 1, bad: () => ({ bytes: random.pick(messages), from: source() }) });
    expect([answers.count, counts.curve, counts.mac]).toEqual([0, 0, FLOOD]);
    expect(victim.device.counts()).toEqual(before);
  });

  test("that have a good mac1, from anywhere: curve work is bounded, answers are smaller than questions", () => {
    using all = scene(seed);
    const { victim, random, counts, withMac1, source, pool } = all;
    const before = victim.device.counts();
    const messages = pool(() => withMac1(1, 148));
    const answers = flood(all, { seconds: 1, bad: () => ({ bytes: random.pick(messages), from: source() }) });
    expect(counts.curve).toBeLessThanOrEqual(LOAD_BURST + 1);
    expect([answers.count, answers.bytes]).toEqual([FLOOD - LOAD_BURST, (FLOOD - LOAD_BURST) * 64]);
    expect(victim.device.counts()).toEqual(before);
  });

  test("that answer nothing of ours: a look into a table each", () => {
    using all = scene(seed);
    const { victim, random, counts, withMac1, source, pool } = all;
    const messages = pool(() => {
      if (random.chance(0.5)) return withMac1(2, 92);
      const cookie = random.bytes(64);
      cookie.set([3, 0, 0, 0]);
      return cookie;
    });
    Object.assign(counts, { mac: 0 });
    const before = victim.device.counts();
    const answers = flood(all, { seconds: 1, bad: () => ({ bytes: random.pick(messages), from: source() }) });
    expect([answers.count, counts.curve, counts.mac, counts.reply]).toEqual([0, 0, 0, 0]);
    expect(victim.device.counts()).toEqual(before);
  });

  test("that are data for the session, forged: an AEAD each, and the window does not move", () => {
    using all = scene(seed);
    const { victim, random, counts, source, pool } = all;
    const session = victim.device.peer(1)?.keypairs.current;
    const messages = pool(() => {
      const bytes = random.bytes(32 + random.below(4) * 16);
      bytes.set([4, 0, 0, 0]);
      const view = new DataView(bytes.buffer);
      view.setUint32(4, session?.localIndex as number, true);
      // A counter that a session can have.
      view.setUint32(12, 0, true);
      return bytes;
    });
    const answers = flood(all, { seconds: 1, bad: () => ({ bytes: random.pick(messages), from: source() }) });
    expect([answers.count, counts.curve]).toEqual([0, 0]);
    expect(counts.open).toBeGreaterThanOrEqual(FLOOD);
    expect(session?.window.next[0]).toBeLessThan(1000);
  });
});

describe(`under load (seed ${seed})`, () => {
  test("a stranger's true initiations, at one address: with its cookie it gets its rate and no more", () => {
    using all = scene(seed);
    const { network, victim, counts } = all;
    const hand = new Hand(publicKeyBytes(victim.key.publicKey));
    const from = { ip: ip(4, 0xcb007101n), port: 7 };
    // First the cookie, by a message while a flood goes on; then 100,000 initiations that carry it.
    let cookie: Uint8Array<ArrayBuffer> | undefined;
    const asked = hand.initiation({ seconds: 1 });
    const { primitives } = victim.device;
    const opened: Primitives["openLong"] = primitives.openLong;
    const key = macKeys(primitives, publicKeyBytes(victim.key.publicKey)).cookie;
    network.onDatagram = ({ bytes, to }) => {
      if (bytes.length === 64 && to.port === 7)
        cookie = opened(bytes.subarray(32), {
          key,
          nonce: bytes.subarray(8, 32),
          additional: asked.bytes.slice(116, 132),
        });
      return to.port === 51820;
    };
    for (let i = 0; i < LOAD_BURST + 5; i++) network.deliver(victim, all.withMac1(1, 148), all.source());
    network.deliver(victim, asked.bytes, from);
    expect(cookie).toHaveLength(16);
    const begun = hand.initiation({ seconds: 2, cookie: cookie as Uint8Array<ArrayBuffer> }).bytes;
    counts.curve = 0;
    const answers = flood(all, { seconds: 2, bad: () => ({ bytes: begun, from }) });
    // An unknown peer costs one operation: its static key is found to be nobody's.
    expect(counts.curve).toBeGreaterThan(SOURCE_PER_SECOND);
    expect(counts.curve).toBeLessThanOrEqual(SOURCE_BURST + 2 * SOURCE_PER_SECOND + 1);
    expect(answers.count).toBe(0);
    expect(victim.device.counts().sources).toBe(1);
  });

  test("a new friend comes in by a cookie while the flood goes on, and the sources that are remembered stay bounded", () => {
    using all = scene(seed);
    const { network, victim, random, counts, withMac1, source, pool } = all;
    const newcomer = network.add("newcomer");
    network.introduce(newcomer, victim);
    network.introduce(victim, newcomer);
    const messages = pool(() => withMac1(1, 148));
    for (let i = 0; i <= LOAD_BURST; i++) network.deliver(victim, random.pick(messages), source());
    // Its persistent keepalive makes it begin, and nothing that the flow below would count.
    network.introduce(newcomer, victim, { keepaliveSeconds: 25 });
    flood(all, { seconds: 7, count: 40_000, bad: () => ({ bytes: random.pick(messages), from: source() }) });
    expect(newcomer.device.peer(1)?.keypairs.current).toBeDefined();
    expect(victim.device.counts().sessions).toBe(2);
    expect(victim.device.counts().sources).toBeLessThanOrEqual(MAX_SOURCES);
    expect(counts.curve).toBeLessThan(2 * (LOAD_BURST + 7 * LOAD_PER_SECOND));
  });
});
