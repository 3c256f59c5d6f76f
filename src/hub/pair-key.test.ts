import { describe, expect, test } from "bun:test";
import { PrivateKey, Secret } from "../net/mod.ts";
import { hubPairKey, nodeSecret, openPairKey, pairKey, sealPairKey } from "./pair-key.ts";
import { useSecret } from "./token.ts";

const hex = (secret: Secret | undefined) =>
  secret === undefined ? undefined : Buffer.from(secret.reveal()).toString("hex");
const seed = new Secret(new Uint8Array(32).fill(1));
const key = PrivateKey.random().publicKey;
const secret = nodeSecret(useSecret({ seed }, 0), key);

describe("a node's secret", () => {
  test("hangs on the token's seed, its use and the node's key; the use's keys tell nothing of it", () => {
    const all = [
      secret,
      nodeSecret(useSecret({ seed }, 1), key),
      nodeSecret(useSecret({ seed }, 0), PrivateKey.random().publicKey),
      nodeSecret(useSecret({ seed: Secret.random() }, 0), key),
    ];
    expect(new Set(all.map(hex)).size).toBe(4);
    expect(hex(nodeSecret(useSecret({ seed }, 0), key))).toBe(hex(secret) as string);
  });
});

describe("a pair's key", () => {
  const [a, b, c] = [Secret.random(), Secret.random(), Secret.random()];
  const generation = Secret.random();

  test("is the same from both ends, and another for each pair and generation", () => {
    expect(hex(pairKey(generation, a, b))).toBe(hex(pairKey(generation, b, a)) as string);
    const all = [
      pairKey(generation, a, b),
      pairKey(generation, a, c),
      pairKey(generation, b, c),
      pairKey(Secret.random(), a, b),
      hubPairKey(a, { hub: "hub", generation: 1 }),
      hubPairKey(a, { hub: "hub", generation: 2 }),
      hubPairKey(a, { hub: "hub2", generation: 1 }),
    ];
    expect(new Set(all.map(hex)).size).toBe(all.length);
  });

  test("opens for the node, the peer and the generation that it was sealed for, and for nobody else", () => {
    const psk = pairKey(generation, a, b);
    const what = { node: "a", peer: "b", generation: 3 };
    const sealed = sealPairKey(psk, a, what);
    expect(hex(openPairKey(sealed, a, what))).toBe(hex(psk) as string);
    expect(openPairKey(sealed, b, what)).toBeUndefined();
    for (const other of [
      { ...what, node: "c" },
      { ...what, peer: "c" },
      { ...what, generation: 4 },
    ])
      expect(openPairKey(sealed, a, other)).toBeUndefined();
    expect(openPairKey("", a, what)).toBeUndefined();
    expect(openPairKey("nonsense", a, what)).toBeUndefined();
    expect(sealed).not.toContain(Buffer.from(psk.reveal()).toString("base64").slice(0, 20));
  });
});
