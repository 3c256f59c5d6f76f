import { expect, test } from "bun:test";
import { formatIp, parseIp, parseMac, parsePrefix } from "../net/mod.ts";
import { followedPrefix, type GatewaySeat, isActiveGateway } from "./gateway-choice.ts";
import type { NatGateway, RemotePrefix } from "./model.ts";

const VTEPS: Record<string, string> = { a: "10.90.0.1", b: "10.90.0.2", c: "10.90.0.3", x: "10.90.0.9" };
const gateway: NatGateway = {
  ...{ name: "out", domain: 300, nodes: ["c", "a", "b"] },
  ...{ prefixes: [], externalAddresses: [] },
};

function seat(self: string): GatewaySeat {
  return { self, vtepOf: (node) => (VTEPS[node] === undefined ? undefined : parseIp(VTEPS[node])) };
}

function told(prefix: string, ...nodes: string[]): RemotePrefix {
  const hops = nodes.map((node) => ({
    vtep: parseIp(VTEPS[node] as string),
    routerMac: parseMac("02:00:00:00:00:01"),
  }));
  return { kind: "prefix", vni: 300, prefix: parsePrefix(prefix), hops };
}

const follows = (self: string, remote: RemotePrefix, of: NatGateway | undefined = gateway) =>
  followedPrefix(remote, of, seat(self))
    ?.hops.map(({ vtep }) => formatIp(vtep))
    .join();

test("everybody follows the first live node in the order of the gateway; a gateway node those before it only", () => {
  expect(follows("x", told("0.0.0.0/0", "a", "b", "c"))).toBe(VTEPS.c as string);
  expect(follows("x", told("::/0", "b", "a"))).toBe(VTEPS.a as string);
  expect(follows("b", told("0.0.0.0/0", "a"))).toBe(VTEPS.a as string);
  expect(follows("a", told("0.0.0.0/0", "b", "c"))).toBe(VTEPS.c as string);
  expect(follows("a", told("0.0.0.0/0", "b"))).toBeUndefined();
  expect(follows("c", told("0.0.0.0/0", "a", "b"))).toBeUndefined();
});

test("who is no node of the gateway is not followed, unless there is no gateway; other prefixes are as they come", () => {
  expect(follows("a", told("0.0.0.0/0", "x"))).toBeUndefined();
  expect(followedPrefix(told("0.0.0.0/0", "x"), undefined, seat("a"))?.hops).toHaveLength(1);
  expect(follows("a", told("10.0.0.0/8", "x", "b"))).toBe(`${VTEPS.x},${VTEPS.b}`);
});

test("a node is the gateway of a family when nobody before it announces that family's default route", () => {
  const active = (self: string, family: 4 | 6, ...heard: RemotePrefix[]) =>
    isActiveGateway(heard, gateway, { seat: seat(self), family });
  expect(active("a", 4)).toBe(true);
  expect(active("a", 4, told("0.0.0.0/0", "b"))).toBe(true);
  expect(active("a", 4, told("0.0.0.0/0", "c"))).toBe(false);
  expect(active("a", 6, told("0.0.0.0/0", "c"))).toBe(true);
  expect(active("a", 4, { ...told("0.0.0.0/0", "c"), vni: 400 })).toBe(true);
  expect(active("x", 4)).toBe(false);
});
