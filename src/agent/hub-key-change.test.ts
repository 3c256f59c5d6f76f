import { expect, test } from "bun:test";
import { newSeed } from "../../test/support/random.ts";
import { Network, peerOf } from "../../test/support/wireguard-ends.ts";
import { parsePrefix, PrivateKey } from "../net/mod.ts";
import { PROMOTE_MS } from "./hub-key-change.ts";

/** What a register's change takes to be at the nodes. */
const TOLD_MS = 2_000;
const EVERY_MS = 10;

const seed = newSeed();
test(`nodes read of the next key before those that were moved ask for the one before again (seed ${seed})`, () => {
  using network = new Network(seed);
  const [hub, node] = [network.add("hub"), network.add("node")];
  network.meet(hub, node);
  const next = new PrivateKey(network.random.bytes(32));
  const known = { publicKey: next.publicKey, endpoint: hub.endpoint };
  network.step(node, { kind: "configure", configuration: { peers: [known] } });
  const flow = (ms: number) => {
    for (let atMs = 0; atMs < ms; atMs += EVERY_MS) {
      network.send(hub, node, 1);
      network.send(node, hub, 1);
      network.pass(EVERY_MS);
    }
  };
  flow(11_000);
  network.step(hub, { kind: "configure", configuration: { privateKey: next, formerKey: hub.key } });
  const move = { publicKey: node.key.publicKey, updateOnly: true, move: true };
  network.step(hub, { kind: "configure", configuration: { peers: [move] } });
  flow(50);
  // What its agent does: what it sends and what it believes is the next key's from now on.
  const peers = [
    { publicKey: next.publicKey, allowedIps: [{ prefix: parsePrefix("10.0.0.1/32") }], keepaliveSeconds: 25 },
    { publicKey: hub.key.publicKey, replaceAllowedIps: true },
  ];
  network.step(node, { kind: "configure", configuration: { peers } });
  const before = () => peerOf(node, hub.key.publicKey)?.lastHandshakeMs;
  const atMs = before();
  flow(PROMOTE_MS + TOLD_MS);
  expect(before()).toBe(atMs as number);
  // So long it would be too late.
  flow(5_000);
  expect(before()).not.toBe(atMs as number);
});
