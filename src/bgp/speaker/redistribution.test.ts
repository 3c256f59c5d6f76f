import { expect, test } from "bun:test";
import { parsePrefix } from "../../net/mod.ts";
import type { RouteInfo } from "../../netlink/mod.ts";
import { kindOf } from "./redistribution.ts";

const route = (destination: string, more: Partial<RouteInfo>): RouteInfo => ({
  destination: parsePrefix(destination),
  table: 254,
  protocol: 2,
  metric: 0,
  type: "unicast",
  scope: "link",
  hops: [{ linkIndex: 2, onlink: false, weight: 1, dead: false, linkDown: false }],
  tos: 0,
  ...more,
});

test.each([
  ["10.0.0.0/24", {}, "connected"],
  ["2001:db8::/64", {}, "connected"],
  ["10.0.0.0/24", { protocol: 4 }, "static"],
  ["10.0.0.0/24", { protocol: 4, type: "blackhole", hops: [] }, "static"],
  ["10.0.0.0/24", { protocol: 3 }, "kernel"],
  ["10.0.0.0/24", { protocol: 16 }, "kernel"],
  ["0.0.0.0/0", { protocol: 3 }, undefined],
  ["::/0", { protocol: 4 }, undefined],
  ["fe80::/64", {}, undefined],
  ["169.254.1.0/24", {}, undefined],
  ["10.0.0.1/32", { type: "local" }, undefined],
] as const)("%s %o is announced as %s", (destination, more, kind) => {
  expect(kindOf(route(destination, more as Partial<RouteInfo>))).toBe(kind as never);
});
