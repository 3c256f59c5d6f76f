/**
 * A node changes its private key under traffic, as in a rotation: the other end has a second peer for the next key before, looks every 50 ms
 * whether it was heard, and then moves the addresses to it (src/mesh/twin.ts). Every packet counts.
 */
import { describe, expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { type End, Network, peerOf } from "../../../test/support/wireguard-ends.ts";
import { parsePrefix, PrivateKey } from "../../net/mod.ts";
import { HOLD_AFTER_MS, HOLD_MS } from "./limits.ts";

const EVERY_MS = 5;
const LOOK_MS = 50;
const prefix = parsePrefix("10.0.0.1/32");

/** What the other end's agent does, once. */
function look(network: Network, end: End, keys: { readonly old: PrivateKey; readonly next: PrivateKey }) {
  const { old, next } = keys;
  if (peerOf(end, next.publicKey)?.lastHandshakeMs === undefined) return false;
  const peers = [
    { publicKey: next.publicKey, allowedIps: [{ prefix }], keepaliveSeconds: 25 },
    { publicKey: old.publicKey, replaceAllowedIps: true },
  ];
  network.step(end, { kind: "configure", configuration: { peers } });
  return true;
}

const seed = newSeed();
describe(`a change of key, seed ${seed}`, () => {
  for (const roundTripMs of [1, 20, 100])
    for (const spreadMs of [0, 10])
      test(`loses no packet in either direction, round trip ${roundTripMs} ms${
        spreadMs > 0 ? ", packets overtake each other" : ""
      }`, () => {
        for (let round = 0; round < 20; round++) {
          using network = new Network(seed + round);
          const [a, b] = [network.add("a"), network.add("b")];
          network.meet(a, b);
          network.weather = { delayMs: roundTripMs / 2, spreadMs };
          const next = new PrivateKey(network.random.bytes(32));
          const endpoint = a.endpoint;
          const twin = { publicKey: next.publicKey, endpoint };
          network.step(b, { kind: "configure", configuration: { peers: [twin] } });
          // Whoever began; now and then in the middle of a renewal.
          if (network.random.chance(0.5)) network.send(b, a, 0);
          else network.send(a, b, 0);
          network.pass(2 * roundTripMs + 50);
          network.pass(network.random.chance(0.3) ? 119_950 : HOLD_AFTER_MS);
          const changeAt = 20 + network.random.below(20);
          const lookAt = network.random.below(LOOK_MS / EVERY_MS);
          let moved = false;
          for (let number = 1; number <= 300; number++) {
            if (number === changeAt)
              network.step(a, { kind: "configure", configuration: { privateKey: next } });
            network.send(a, b, number);
            network.send(b, a, number);
            if (!moved && number % (LOOK_MS / EVERY_MS) === lookAt)
              moved = look(network, b, { old: a.key, next });
            network.pass(EVERY_MS);
          }
          network.pass(1_000);
          expect(moved).toBe(true);
          const all = Array.from({ length: 300 }, (_, i) => i + 1);
          for (const end of [a, b]) expect(end.heard.filter((n) => n > 0).sort((x, y) => x - y)).toEqual(all);
        }
      });

  test("towards a peer that says nothing packets wait for a moment only", () => {
    using network = new Network(seed);
    const [a, b] = [network.add("a"), network.add("b")];
    network.meet(a, b);
    const next = new PrivateKey(network.random.bytes(32));
    const peers = [{ publicKey: next.publicKey, endpoint: a.endpoint, allowedIps: [{ prefix }] }];
    network.send(a, b, 0);
    network.pass(HOLD_AFTER_MS);
    network.step(b, { kind: "configure", configuration: { peers } });
    network.step(a, { kind: "configure", configuration: { privateKey: next } });
    network.send(a, b, 1);
    network.pass(HOLD_MS - 10);
    expect(b.heard).toEqual([0]);
    network.pass(20);
    expect(b.heard).toEqual([0, 1]);
    network.send(a, b, 2);
    network.pass(0);
    expect(b.heard).toEqual([0, 1, 2]);
  });

  test("a newcomer, who had another key for its registration only, does not wait", () => {
    using network = new Network(seed);
    const [a, b] = [network.add("a"), network.add("b")];
    network.meet(a, b);
    network.send(a, b, 0);
    network.pass(HOLD_AFTER_MS - 1_000);
    const next = new PrivateKey(network.random.bytes(32));
    const peers = [{ publicKey: next.publicKey, allowedIps: [{ prefix }] }];
    network.step(b, { kind: "configure", configuration: { peers } });
    network.step(a, { kind: "configure", configuration: { privateKey: next } });
    network.send(a, b, 1);
    network.pass(1);
    expect(b.heard).toEqual([0, 1]);
  });
});
