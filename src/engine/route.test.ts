import { expect, test } from "bun:test";
import { linkInfo, viewOf } from "../../test/support/engine-view.ts";
import { parseIp, parsePrefix } from "../net/mod.ts";
import type { RouteInfo } from "../netlink/mod.ts";
import type { Verdict } from "./kind.ts";
import type { Route } from "./object.ts";
import { route, routeKey } from "./route.ts";

const links = [linkInfo("cw0", 2), linkInfo("cw1", 3)];
const hop = { onlink: false, weight: 1, dead: false, linkDown: false };

const info: RouteInfo = {
  destination: parsePrefix("10.1.0.0/16"),
  table: 254,
  protocol: 67,
  metric: 0,
  type: "unicast",
  scope: "global",
  hops: [{ ...hop, via: parseIp("10.0.0.2"), linkIndex: 2 }],
  tos: 0,
};

const wish: Route = {
  kind: "route",
  destination: parsePrefix("10.1.0.0/16"),
  hops: [{ via: parseIp("10.0.0.2"), dev: "cw0" }],
};

function verdict(object: Route, ...routes: RouteInfo[]): string {
  const view = viewOf(links);
  view.mirror.load("route", routes);
  const found: Verdict = route.compare(object, view);
  return found.is === "step" ? `${found.action}: ${found.text}` : found.is;
}

test("identity is destination, table and metric, with the kernel's defaults", () => {
  expect(routeKey({ destination: parsePrefix("10.1.0.0/16") })).toBe("route 10.1.0.0/16");
  expect(routeKey({ destination: parsePrefix("10.1.0.0/16"), table: 254, metric: 0 })).toBe(
    "route 10.1.0.0/16",
  );
  expect(routeKey({ destination: parsePrefix("fd00::/8"), metric: 1024 })).toBe("route fd00::/8");
  expect(routeKey({ destination: parsePrefix("fd00::/8"), metric: 0 })).toBe("route fd00::/8");
  expect(routeKey({ destination: parsePrefix("::/0"), table: 7, metric: 5 })).toBe(
    "route ::/0 table 7 metric 5",
  );
});

test("every difference is one replacement without a gap", () => {
  expect(verdict(wish, info)).toBe("same");
  expect(verdict({ ...wish, hops: [{ via: parseIp("10.0.0.2") }] }, info)).toBe("same");
  expect(verdict({ ...wish, mtuBytes: 1420 }, info)).toBe(
    "change: ip route replace 10.1.0.0/16 via 10.0.0.2 dev cw0 proto 67 mtu 1420",
  );
  expect(verdict({ ...wish, source: parseIp("10.0.0.1") }, info)).toBe(
    "change: ip route replace 10.1.0.0/16 via 10.0.0.2 dev cw0 proto 67 src 10.0.0.1",
  );
  expect(verdict({ ...wish, hops: [{ dev: "cw1" }] }, info)).toBe(
    "change: ip route replace 10.1.0.0/16 dev cw1 proto 67",
  );
  expect(verdict(wish, { ...info, mtuBytes: 1400 })).toStartWith("change:");
  const { hops: _hops, ...bare } = wish;
  expect(verdict({ ...bare, type: "blackhole" }, info)).toBe(
    "change: ip route replace blackhole 10.1.0.0/16 proto 67",
  );
  expect(verdict({ ...bare, nexthopId: 7 }, info)).toBe(
    "change: ip route replace 10.1.0.0/16 nhid 7 proto 67",
  );
});

test("several ways are compared as a set with weights", () => {
  const two: Route = { ...wish, hops: [{ via: parseIp("10.0.0.2"), weight: 2 }, { dev: "cw1" }] };
  const found = [
    { ...hop, linkIndex: 3 },
    { ...hop, via: parseIp("10.0.0.2"), linkIndex: 2, weight: 2 },
  ];
  expect(verdict(two, { ...info, hops: found })).toBe("same");
  expect(verdict(two, { ...info, hops: found.map((one) => ({ ...one, weight: 1 })) })).toBe(
    "change: ip route replace 10.1.0.0/16 proto 67 nexthop via 10.0.0.2 weight 2 nexthop dev cw1 weight 1",
  );
});

test("routes of other makers are not seen", () => {
  expect(verdict(wish, { ...info, protocol: 4 })).toStartWith("add:");
  const view = viewOf(links);
  view.mirror.load("route", [{ ...info, protocol: 4 }]);
  expect([...route.ours(view)]).toEqual([]);
  expect(route.remove(wish, view)).toBeUndefined();
});

test("a route needs its links and its next hop", () => {
  expect(route.needs({ ...wish, nexthopId: 3 })).toEqual(["link cw0", "nexthop 3"]);
});
