import { describe, expect, test } from "bun:test";
import type { Peer } from "../engine/mod.ts";
import { parseEndpoint, parsePrefix, type PeerState, type PublicKey } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import { heardNext, twins } from "./twin.ts";

const [one, two] = ["one" as PublicKey, "two" as PublicKey];
const state = (publicKey: PublicKey, lastHandshakeMs?: number): PeerState => ({
  publicKey,
  allowedIps: [],
  presharedKey: false,
  rxBytes: 0,
  txBytes: 0,
  ...(lastHandshakeMs === undefined ? {} : { lastHandshakeMs }),
});
const node = { name: "a", publicKey: one, nextPublicKey: two } as unknown as Node;
const peer: Peer = {
  kind: "peer",
  link: "cw0",
  publicKey: one,
  endpoint: parseEndpoint("192.0.2.1:5"),
  allowedIps: [parsePrefix("10.90.0.2/32")],
  keepaliveSeconds: 25,
};

describe("a node that changes its key", () => {
  test("is heard with the next one when that made the later handshake", () => {
    expect(heardNext([node], [state(one, 5), state(two)]).size).toBe(0);
    expect(heardNext([node], [state(one, 5), state(two, 4)]).size).toBe(0);
    expect([...heardNext([node], [state(one, 5), state(two, 6)])]).toEqual(["a"]);
    expect([...heardNext([node], [state(one), state(two, 1)])]).toEqual(["a"]);
    expect(heardNext([{ name: "b", publicKey: one } as Node], [state(two, 9)]).size).toBe(0);
  });

  test("its prefixes are with the one key until the other is heard, never with both and never with none", () => {
    const owners = (heard: boolean) =>
      twins(peer, node, { heard }).map(({ publicKey, allowedIps }) => [publicKey, allowedIps.length]);
    expect(owners(false)).toEqual([
      [one, 1],
      [two, 0],
    ]);
    expect(owners(true)).toEqual([
      [two, 1],
      [one, 0],
    ]);
    expect(twins(peer, {}, { heard: false })).toEqual([peer]);
    for (const heard of [true, false])
      expect(twins(peer, node, { heard }).every(({ endpoint }) => endpoint === peer.endpoint)).toBe(true);
  });
});
