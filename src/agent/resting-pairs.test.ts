import { expect, test } from "bun:test";
import { parseEndpoint, type PeerState, PrivateKey } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import { type RestingPair, RestingPairs } from "./resting-pairs.ts";

const key = PrivateKey.random().publicKey;
const node = { name: "b", publicKey: key } as Node;
const relay = { hub: "hub1", endpoint: parseEndpoint("203.0.113.1:51820"), mtuBytes: 1500 };
const other = { hub: "hub2", endpoint: parseEndpoint("[2001:db8::2]:51820") };

function peer(rxBytes: number, txBytes: number): PeerState {
  return { publicKey: key, allowedIps: [], presharedKey: false, rxBytes, txBytes };
}

function pairs(more: Partial<RestingPair> = {}): RestingPairs {
  const made = new RestingPairs();
  made.put({ node, relay, peer: undefined, uses: 3, ...more });
  return made;
}

test("a pair at rest is stirred by bytes in either direction, and by nothing else", () => {
  const read = peer(100, 200);
  const rests = pairs({ peer: read });
  expect(rests.stirred([read])).toEqual([]);
  // Another value that says the same, such as after the endpoint was set.
  expect(rests.stirred([{ ...read, endpoint: relay.endpoint }])).toEqual([]);
  expect(rests.stirred([peer(132, 200)])).toEqual(["b"]);
  expect(rests.stirred([peer(100, 348)])).toEqual(["b"]);
  // Made anew: what it counted before is no talk, what it counts now is.
  expect(rests.stirred([peer(0, 0)])).toEqual([]);
  expect(rests.stirred([peer(0, 148)])).toEqual(["b"]);
});

test("a peer that was never read has said nothing before", () => {
  expect(pairs().stirred([peer(0, 0)])).toEqual([]);
  expect(pairs().stirred([peer(0, 148)])).toEqual(["b"]);
  expect(pairs().stirred([{ ...peer(1, 1), publicKey: PrivateKey.random().publicKey }])).toEqual([]);
});

test("its path is its relay; another relay changes it, none does not", () => {
  const rests = pairs();
  const path = { rests: true, generation: 7, endpointSerial: 3, endpoint: relay.endpoint, mtuBytes: 1440 };
  expect(rests.path("b", 7)).toEqual(path);
  expect(rests.follow(node, { ...relay })).toBe(false);
  expect(rests.follow(node, undefined)).toBe(false);
  expect(rests.path("b", 7)).toEqual(path);
  expect(rests.follow(node, other)).toBe(true);
  const elsewhere = { rests: true, generation: 7, endpointSerial: 3, endpoint: other.endpoint };
  expect(rests.path("b", 7)).toEqual(elsewhere);
  const nowhere = { rests: true, generation: 0, endpointSerial: 3 };
  expect(pairs({ relay: undefined }).path("b", 0)).toEqual(nowhere);
});

test("who is taken is not there any more, by name and by key", () => {
  const rests = pairs();
  expect(rests.take("b")?.uses).toBe(3);
  expect(rests.has("b")).toBe(false);
  expect(rests.stirred([peer(500, 500)])).toEqual([]);
  expect(rests.take("b")).toBeUndefined();
});
