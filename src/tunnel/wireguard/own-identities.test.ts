/**
 * A hub changes its private key under traffic and stays who it was beside: one peer has heard of the next key and is moved (its agent looks every
 * 50 ms whether that was heard, src/mesh/twin.ts), another one knows the old key only. Every packet counts.
 */
import { describe, expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { type End, Network, peerOf } from "../../../test/support/wireguard-ends.ts";
import { parsePrefix, PrivateKey } from "../../net/mod.ts";
import { HOLD_MS } from "./limits.ts";

const EVERY_MS = 5;
const LOOK_MS = 50;
const HUB = parsePrefix("10.0.0.1/32");
const all = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
const sorted = (end: End) => end.heard.filter((number) => number > 0).sort((x, y) => x - y);

/** What the node's agent does when it has read of the next key. */
function announce(network: Network, node: End, hub: End, next: PrivateKey): void {
  const peers = [{ publicKey: next.publicKey, endpoint: hub.endpoint }];
  network.step(node, { kind: "configure", configuration: { peers } });
}

/** What the node's agent does every 50 ms; true when the next key was heard and has our addresses. */
function look(network: Network, node: End, keys: { readonly old: PrivateKey; readonly next: PrivateKey }) {
  const { old, next } = keys;
  if (peerOf(node, next.publicKey)?.lastHandshakeMs === undefined) return false;
  const peers = [
    { publicKey: next.publicKey, allowedIps: [{ prefix: HUB }], keepaliveSeconds: 25 },
    { publicKey: old.publicKey, replaceAllowedIps: true },
  ];
  network.step(node, { kind: "configure", configuration: { peers } });
  return true;
}

function change(network: Network, hub: End, next: PrivateKey): void {
  network.step(hub, { kind: "configure", configuration: { privateKey: next, formerKey: hub.key } });
}

function move(network: Network, hub: End, node: End): void {
  const peers = [{ publicKey: node.key.publicKey, updateOnly: true, move: true }];
  network.step(hub, { kind: "configure", configuration: { peers } });
}

const seed = newSeed();
describe(`a hub of two identities, seed ${seed}`, () => {
  for (const roundTripMs of [1, 20, 100])
    for (const spreadMs of [0, 10])
      test(`loses no packet of a peer that is moved, nor of one that is not; round trip ${roundTripMs} ms${
        spreadMs > 0 ? ", packets overtake each other" : ""
      }`, () => {
        for (let round = 0; round < 6; round++) {
          using network = new Network(seed + round);
          const [hub, node, plain] = [network.add("hub"), network.add("node"), network.add("plain")];
          for (const other of [node, plain]) network.meet(hub, other);
          network.weather = { delayMs: roundTripMs / 2, spreadMs };
          const next = new PrivateKey(network.random.bytes(32));
          announce(network, node, hub, next);
          for (const other of [node, plain])
            if (network.random.chance(0.5)) network.send(hub, other, 0);
            else network.send(other, hub, 0);
          network.pass(2 * roundTripMs + 50);
          // Now and then in the middle of a renewal.
          network.pass(network.random.chance(0.5) ? 119_900 + network.random.below(200) : 11_000);
          const changeAt = 20 + network.random.below(20);
          const moveAt = changeAt + network.random.below(20);
          const lookAt = network.random.below(LOOK_MS / EVERY_MS);
          let moved = false;
          for (let number = 1; number <= 400; number++) {
            if (number === changeAt) change(network, hub, next);
            if (number === moveAt) move(network, hub, node);
            network.send(node, hub, number);
            network.send(plain, hub, 1_000 + number);
            for (const other of [node, plain]) network.send(hub, other, number);
            if (!moved && number % (LOOK_MS / EVERY_MS) === lookAt)
              moved = look(network, node, { old: hub.key, next });
            network.pass(EVERY_MS);
          }
          network.pass(1_000);
          expect(moved).toBe(true);
          expect(sorted(hub)).toEqual([...all(400), ...all(400).map((number) => 1_000 + number)]);
          for (const other of [node, plain]) expect(sorted(other)).toEqual(all(400));
          expect(peerOf(hub, node.key.publicKey)?.former).toBeUndefined();
          expect(peerOf(hub, plain.key.publicKey)?.former).toBe(true);
        }
      });

  test("peers that know the old key only renew their sessions under it, in both roles", () => {
    using network = new Network(seed);
    const [hub, plain] = [network.add("hub"), network.add("plain")];
    network.meet(hub, plain);
    network.send(hub, plain, 0);
    network.pass(1_000);
    change(network, hub, new PrivateKey(network.random.bytes(32)));
    for (let number = 1; number <= 500; number++) {
      const [from, to] = number % 2 === 0 ? [hub, plain] : [plain, hub];
      network.send(from, to, number);
      network.pass(1_000);
    }
    expect(sorted(hub)).toEqual(all(500).filter((number) => number % 2 === 1));
    expect(sorted(plain)).toEqual(all(500).filter((number) => number % 2 === 0));
  });

  test("a peer that is moved too early is gone on with under the old key, and comes by itself later", () => {
    using network = new Network(seed);
    const [hub, node] = [network.add("hub"), network.add("node")];
    network.meet(hub, node);
    network.send(hub, node, 0);
    network.pass(1_000);
    const next = new PrivateKey(network.random.bytes(32));
    change(network, hub, next);
    move(network, hub, node);
    for (let number = 1; number <= 100; number++) {
      network.send(hub, node, number);
      network.send(node, hub, number);
      network.pass(HOLD_MS / 50);
    }
    expect(sorted(node)).toEqual(all(100));
    expect(sorted(hub)).toEqual(all(100));
    expect(peerOf(hub, node.key.publicKey)?.former).toBe(true);
    // What its agent does when it reads of a key that is in use already.
    const peers = [{ publicKey: next.publicKey, endpoint: hub.endpoint, allowedIps: [{ prefix: HUB }] }];
    network.step(node, { kind: "configure", configuration: { replacePeers: true, peers } });
    network.send(node, hub, 101);
    network.pass(100);
    network.send(hub, node, 101);
    network.pass(100);
    expect(sorted(node)).toEqual(all(101));
    expect(sorted(hub)).toEqual(all(101));
    expect(peerOf(hub, node.key.publicKey)?.former).toBeUndefined();
  });

  test("a peer that was away and knows the old key is answered, until that key is taken away", () => {
    using network = new Network(seed);
    const [hub, away] = [network.add("hub"), network.add("away")];
    network.meet(hub, away);
    const next = new PrivateKey(network.random.bytes(32));
    away.asleep = true;
    change(network, hub, next);
    // In vain, now under the one key, now under the other.
    network.send(hub, away, 0);
    network.pass(200_000);
    away.asleep = false;
    network.send(away, hub, 1);
    network.pass(100);
    network.send(hub, away, 1);
    network.pass(100);
    expect([sorted(hub), sorted(away)]).toEqual([[1], [1]]);
    network.step(hub, { kind: "configure", configuration: { formerKey: "none" } });
    expect(hub.device.formerPublicKey).toBeUndefined();
    // What is on its way arrives, and what comes under the session there is, until it ends.
    network.send(away, hub, 2);
    network.pass(100);
    expect(sorted(hub)).toEqual([1, 2]);
    network.pass(200_000);
    network.send(away, hub, 3);
    network.pass(10_000);
    expect(sorted(hub)).toEqual([1, 2]);
  });

  test("whom the hub begins with knows only the old key: the next attempt is under that", () => {
    using network = new Network(seed);
    const [hub, plain] = [network.add("hub"), network.add("plain")];
    network.meet(hub, plain);
    network.step(hub, {
      kind: "configure",
      configuration: { privateKey: new PrivateKey(network.random.bytes(32)) },
    });
    network.step(hub, { kind: "configure", configuration: { formerKey: hub.key } });
    network.send(hub, plain, 1);
    network.pass(6_000);
    expect(sorted(plain)).toEqual([1]);
  });

  test("what is tried with a peer that is gone does not make it one that knows the new key", () => {
    using network = new Network(seed);
    const [hub, plain] = [network.add("hub"), network.add("plain")];
    network.meet(hub, plain);
    network.send(hub, plain, 1);
    network.pass(100);
    change(network, hub, new PrivateKey(network.random.bytes(32)));
    plain.asleep = true;
    for (let seconds = 0; seconds < 900; seconds++) {
      network.send(hub, plain, 2);
      network.pass(1_000);
      expect(peerOf(hub, plain.key.publicKey)?.former).toBe(true);
    }
  });

  /** Whether what a device says of a peer is that it was not heard under the present key. */
  const isOld = (end: End, node: End) => {
    const { former, moving } = peerOf(end, node.key.publicKey) ?? {};
    return former === true || moving === true;
  };

  for (const silentMs of [0, 200_000])
    test(`a peer that is moved counts as one of the old key until it is heard under the next; silent for ${silentMs} ms`, () => {
      using network = new Network(seed);
      const [hub, node] = [network.add("hub"), network.add("node")];
      network.meet(hub, node);
      network.send(hub, node, 0);
      network.pass(1_000 + silentMs);
      const next = new PrivateKey(network.random.bytes(32));
      change(network, hub, next);
      node.asleep = true;
      move(network, hub, node);
      const heir = network.add("heir");
      heir.device[Symbol.dispose]();
      heir.device.restore(JSON.parse(JSON.stringify(hub.device.image(() => 7))), () => undefined);
      for (const end of [hub, heir]) expect(isOld(end, node)).toBe(true);
      for (let seconds = 0; seconds < 30; seconds++) {
        network.pass(1_000);
        expect(isOld(hub, node)).toBe(true);
      }
      node.asleep = false;
      announce(network, node, hub, next);
      network.send(hub, node, 1);
      network.pass(10_000);
      move(network, hub, node);
      network.pass(LOOK_MS);
      expect(look(network, node, { old: hub.key, next })).toBe(true);
      network.pass(LOOK_MS);
      expect(isOld(hub, node)).toBe(false);
    });

  test("what it has in common with a peer under the old key is wiped when the peer goes, or the device", () => {
    for (const end of ["peer", "device"]) {
      using network = new Network(seed);
      const [hub, plain] = [network.add("hub"), network.add("plain")];
      network.meet(hub, plain);
      network.send(hub, plain, 0);
      network.pass(1_000);
      change(network, hub, new PrivateKey(network.random.bytes(32)));
      const number = hub.device.numberOf(plain.key.publicKey) as number;
      const bytes = hub.device.peer(number)?.formerStatic?.reveal();
      expect(bytes?.some((byte) => byte !== 0)).toBe(true);
      const peers = [{ publicKey: plain.key.publicKey, remove: true }];
      if (end === "peer") network.step(hub, { kind: "configure", configuration: { peers } });
      else hub.device[Symbol.dispose]();
      expect(bytes).toEqual(new Uint8Array(32));
    }
  });

  test("a successor goes on with both", () => {
    using network = new Network(seed);
    const [hub, node] = [network.add("hub"), network.add("node")];
    network.meet(hub, node);
    network.send(hub, node, 0);
    network.pass(100);
    const next = new PrivateKey(network.random.bytes(32));
    change(network, hub, next);
    const image = JSON.parse(JSON.stringify(hub.device.image(() => 7)));
    const heir = network.add("heir");
    heir.device[Symbol.dispose]();
    heir.device.restore(image, () => undefined);
    expect(heir.device.publicKey).toBe(next.publicKey);
    expect(heir.device.formerPublicKey).toBe(hub.key.publicKey);
    expect(peerOf(heir, node.key.publicKey)?.former).toBe(true);
  });

  test("neither key is ever a peer", () => {
    using network = new Network(seed);
    const hub = network.add("hub");
    const next = new PrivateKey(network.random.bytes(32));
    change(network, hub, next);
    const peers = [{ publicKey: next.publicKey }, { publicKey: hub.key.publicKey }];
    network.step(hub, { kind: "configure", configuration: { peers } });
    expect(hub.device.read().peers).toEqual([]);
  });
});
