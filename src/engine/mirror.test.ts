import { expect, test } from "bun:test";
import { linkInfo } from "../../test/support/engine-view.ts";
import { parseInterfaceAddress, parseIp, parsePrefix } from "../net/mod.ts";
import type { AddressInfo, RouteInfo } from "../netlink/mod.ts";
import { Mirror } from "./mirror.ts";

const hop = { onlink: false, weight: 1, dead: false, linkDown: false };
const route = (destination: string, more: Partial<RouteInfo> = {}): RouteInfo => ({
  destination: parsePrefix(destination),
  table: 254,
  protocol: 67,
  metric: 0,
  type: "unicast",
  scope: "global",
  hops: [{ ...hop, linkIndex: 2 }],
  tos: 0,
  ...more,
});
const address = (text: string, linkIndex: number): AddressInfo => ({
  linkIndex,
  address: parseInterfaceAddress(text),
  scope: 0,
  permanent: true,
  nodad: false,
  noprefixroute: false,
  tentative: false,
  deprecated: false,
  dadFailed: false,
});

function filled(): Mirror {
  const mirror = new Mirror(67);
  mirror.load("link", [linkInfo("cw0", 2), linkInfo("cw1", 3)]);
  mirror.load("address", [address("10.0.0.1/24", 2), address("10.0.1.1/24", 3)]);
  mirror.load("route", [
    route("10.1.0.0/16"),
    route("10.2.0.0/16", { hops: [{ ...hop, linkIndex: 3 }], source: parseIp("10.0.0.1") }),
  ]);
  return mirror;
}

test("a link that vanishes takes along what is on it", () => {
  const mirror = filled();
  const touched = mirror.take({ kind: "link", deleted: true, info: linkInfo("cw0", 2) });
  expect(touched.turned).toBe("cw0");
  expect([...touched.keys].sort()).toEqual(["address cw0 10.0.0.1/24", "link cw0", "route 10.1.0.0/16"]);
  expect([...mirror.tables.route.keys()]).toEqual(["route 10.2.0.0/16"]);
  expect(mirror.link("cw0")).toBeUndefined();
});

test("a link that goes down makes its routes doubtful", () => {
  const touched = filled().take({
    kind: "link",
    deleted: false,
    info: linkInfo("cw0", 2, { up: false, lowerUp: false }),
  });
  expect(touched).toEqual({ keys: ["link cw0"], turned: "cw0", stale: ["route"] });
});

test("a link that only changes wakes nobody else", () => {
  const touched = filled().take({
    kind: "link",
    deleted: false,
    info: linkInfo("cw0", 2, { mtuBytes: 1400 }),
  });
  expect(touched).toEqual({ keys: ["link cw0"] });
});

test("an address that goes makes doubtful the routes that prefer it or are on its link", () => {
  expect(filled().take({ kind: "address", deleted: true, info: address("10.0.0.1/24", 2) }).stale).toEqual([
    "route",
  ]);
  expect(filled().take({ kind: "address", deleted: true, info: address("10.0.1.1/24", 3) }).stale).toEqual([
    "route",
  ]);
});

test("of a million routes of others nothing is kept", () => {
  const mirror = filled();
  expect(
    mirror.take({ kind: "route", deleted: false, info: route("10.9.0.0/16", { protocol: 186 }) }),
  ).toEqual({ keys: [] });
  expect(mirror.tables.route.size).toBe(2);
});

test("a route of ours that somebody replaced is read again", () => {
  const touched = filled().take({
    kind: "route",
    deleted: false,
    info: route("10.1.0.0/16", { protocol: 4 }),
  });
  expect(touched).toEqual({ keys: [], stale: ["route"] });
});

test("a dump says what appeared and what vanished", () => {
  const mirror = filled();
  expect(mirror.load("route", [route("10.1.0.0/16"), route("10.3.0.0/16")]).sort()).toEqual([
    "route 10.2.0.0/16",
    "route 10.3.0.0/16",
  ]);
});

test("a renamed link is another one, and what is on it is read again", () => {
  const touched = filled().take({ kind: "link", deleted: false, info: linkInfo("new", 2) });
  expect([...touched.keys].sort()).toEqual([
    "address cw0 10.0.0.1/24",
    "link cw0",
    "link new",
    "route 10.1.0.0/16",
  ]);
  expect(touched.stale).toContain("address");
});

test("a copy without a link leaves the original alone", () => {
  const mirror = filled();
  expect([...mirror.without("cw0").tables.address.keys()]).toEqual(["address cw1 10.0.1.1/24"]);
  expect(mirror.tables.address.size).toBe(2);
});
