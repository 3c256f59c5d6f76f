import { expect, test } from "bun:test";
import { formatEndpoint, parseInterfaceAddress, parseIp, parsePrefix } from "../net/mod.ts";
import type { AddressInfo, LinkInfo, RouteInfo } from "../netlink/mod.ts";
import { localEndpoints, ownAddressIn, underlayMtu } from "./underlay.ts";

const link = (index: number, name: string, mtuBytes = 1500, more: Partial<LinkInfo> = {}) =>
  ({ index, name, mtuBytes, up: true, loopback: false, ...more }) as LinkInfo;
const address = (linkIndex: number, text: string) =>
  ({
    linkIndex,
    address: parseInterfaceAddress(text),
    tentative: false,
    deprecated: false,
    dadFailed: false,
  }) as AddressInfo;
const route = (text: string, linkIndex: number, more: Partial<RouteInfo> = {}) =>
  ({
    destination: parsePrefix(text),
    table: 254,
    metric: 0,
    hops: [{ linkIndex }],
    ...more,
  }) as unknown as RouteInfo;

test("only addresses that another machine could use are reported", () => {
  const links = [
    link(1, "lo", 65536, { loopback: true }),
    link(2, "eth0"),
    link(3, "docker0"),
    link(4, "cw0"),
    link(5, "eth1", 1500, { up: false }),
  ];
  const addresses = [
    address(1, "127.0.0.1/8"),
    address(2, "192.168.1.7/24"),
    address(2, "fe80::1/64"),
    address(2, "2001:db8::7/64"),
    address(2, "10.90.0.3/32"),
    address(3, "172.17.0.1/16"),
    address(4, "10.90.0.2/32"),
    address(5, "192.168.2.7/24"),
  ];
  const found = localEndpoints(links, addresses, { port: 51820, without: [parsePrefix("10.90.0.0/16")] });
  expect(found.map(formatEndpoint)).toEqual(["192.168.1.7:51820", "[2001:db8::7]:51820"]);
});

test("an own address inside a mesh's network is found; those of tunnels and containers do not count", () => {
  const links = [link(2, "eth0"), link(3, "docker0"), link(4, "cw0")];
  const addresses = [address(2, "192.168.1.7/24"), address(3, "10.244.9.1/16"), address(4, "10.90.0.2/32")];
  const found = (...prefixes: string[]) => ownAddressIn(prefixes.map(parsePrefix), links, addresses);
  expect(found("10.244.0.0/16", "10.90.0.0/16")).toBeUndefined();
  expect(found("10.244.0.0/16", "192.168.0.0/16")).toEqual({
    ip: parseIp("192.168.1.7"),
    prefix: parsePrefix("192.168.0.0/16"),
  });
});

test("the MTU is that of the longest matching route, then of its link", () => {
  const links = [link(2, "eth0", 9000), link(3, "ppp0", 1492)];
  const routes = [route("0.0.0.0/0", 3), route("10.0.0.0/8", 2), route("10.1.0.0/16", 2, { mtuBytes: 1400 })];
  expect(underlayMtu(routes, links, parseIp("203.0.113.1"))).toBe(1492);
  expect(underlayMtu(routes, links, parseIp("10.2.0.1"))).toBe(9000);
  expect(underlayMtu(routes, links, parseIp("10.1.0.1"))).toBe(1400);
  expect(underlayMtu(routes, links, parseIp("2001:db8::1"))).toBe(1500);
});
