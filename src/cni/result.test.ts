import { expect, test } from "bun:test";
import { parseInterfaceAddress, parseIp, parseMac, parsePrefix } from "../net/mod.ts";
import { VERSIONS } from "./protocol.ts";
import { formatResult, mergeResults, parseResult, type Result } from "./result.ts";

const result: Result = {
  interfaces: [
    { name: "cw-pods", mac: parseMac("02:00:00:00:00:01"), mtuBytes: 1420 },
    { name: "cwhost", mac: parseMac("02:00:00:00:00:02"), mtuBytes: 1420 },
    { name: "eth0", mac: parseMac("02:00:00:00:00:03"), mtuBytes: 1420, sandbox: "/run/netns/x" },
  ],
  addresses: [
    { address: parseInterfaceAddress("10.0.0.2/24"), gateway: parseIp("10.0.0.1"), interface: 2 },
    { address: parseInterfaceAddress("fd00::2/64"), gateway: parseIp("fd00::1"), interface: 2 },
  ],
  routes: [
    { destination: parsePrefix("0.0.0.0/0"), gateway: parseIp("10.0.0.1") },
    { destination: parsePrefix("::/0"), gateway: parseIp("fd00::1") },
  ],
  dns: { nameservers: ["10.0.0.10"] },
};

test("1.1.0 and 1.0.0 differ in the number only", () => {
  const newest = JSON.parse(formatResult(result, "1.1.0"));
  expect(newest).toEqual({
    cniVersion: "1.1.0",
    interfaces: [
      { name: "cw-pods", mac: "02:00:00:00:00:01", mtu: 1420 },
      { name: "cwhost", mac: "02:00:00:00:00:02", mtu: 1420 },
      { name: "eth0", mac: "02:00:00:00:00:03", mtu: 1420, sandbox: "/run/netns/x" },
    ],
    ips: [
      { address: "10.0.0.2/24", gateway: "10.0.0.1", interface: 2 },
      { address: "fd00::2/64", gateway: "fd00::1", interface: 2 },
    ],
    routes: [
      { dst: "0.0.0.0/0", gw: "10.0.0.1" },
      { dst: "::/0", gw: "fd00::1" },
    ],
    dns: { nameservers: ["10.0.0.10"] },
  });
  expect(JSON.parse(formatResult(result, "1.0.0"))).toEqual({ ...newest, cniVersion: "1.0.0" });
});

test("0.3 and 0.4: address version added, MTU dropped, dns always there", () => {
  const { dns: _, ...noDns } = result;
  for (const version of ["0.3.0", "0.3.1", "0.4.0"] as const) {
    const old = JSON.parse(formatResult(noDns, version));
    expect(old.ips.map((entry: { version: string }) => entry.version)).toEqual(["4", "6"]);
    expect(old.interfaces[2]).toEqual({ name: "eth0", mac: "02:00:00:00:00:03", sandbox: "/run/netns/x" });
    expect(old.dns).toEqual({});
  }
});

test("0.1 and 0.2: one address of each family with its routes", () => {
  const second = { address: parseInterfaceAddress("10.0.0.9/24"), interface: 2 };
  const more = { ...result, addresses: [...result.addresses, second] };
  expect(JSON.parse(formatResult(more, "0.2.0"))).toEqual({
    cniVersion: "0.2.0",
    ip4: { ip: "10.0.0.2/24", gateway: "10.0.0.1", routes: [{ dst: "0.0.0.0/0", gw: "10.0.0.1" }] },
    ip6: { ip: "fd00::2/64", gateway: "fd00::1", routes: [{ dst: "::/0", gw: "fd00::1" }] },
    dns: { nameservers: ["10.0.0.10"] },
  });
  expect(() => formatResult({ ...result, addresses: [] }, "0.1.0")).toThrow(
    "cannot convert: no valid IP addresses",
  );
});

test("a prevResult of every version is read back", () => {
  for (const version of VERSIONS) {
    const read = parseResult(JSON.parse(formatResult(result, version)));
    expect(read.addresses.map(({ address }) => address)).toEqual(
      result.addresses.map(({ address }) => address),
    );
    expect(read.routes).toEqual([...result.routes]);
    expect(read.interfaces).toHaveLength(version < "0.3" ? 0 : 3);
    expect(read.dns).toEqual(result.dns as never);
  }
});

test("K1: a strange prevResult is refused by field", () => {
  for (const [value, message] of [
    [{ ips: [{ address: "10.0.0.1" }] }, "prevResult.ips[0].address is not an address with prefix length"],
    [{ interfaces: [{}] }, "prevResult.interfaces[0].name is not an interface name"],
    [{ interfaces: "x" }, "prevResult.interfaces is not a list of objects"],
    [{ routes: [{ dst: "x" }] }, "prevResult.routes[0].dst is not a network"],
  ] as const)
    expect(() => parseResult(value)).toThrow(message);
  expect(parseResult({ IPs: [{ Address: "10.0.0.1/24", interface: -1 }] }).addresses).toHaveLength(1);
});

test("A3: what plugins before us made stays, and our indexes move", () => {
  const before: Result = {
    interfaces: [{ name: "lo", sandbox: "/run/netns/x" }],
    addresses: [{ address: parseInterfaceAddress("127.0.0.1/8"), interface: 0 }],
    routes: [],
  };
  const merged = mergeResults(before, result);
  expect(merged.interfaces.map(({ name }) => name)).toEqual(["lo", "cw-pods", "cwhost", "eth0"]);
  expect(merged.addresses.map((entry) => entry.interface)).toEqual([0, 3, 3]);
  expect(merged.dns).toEqual(result.dns as never);
});

test("fields of routes since 1.1.0: kept from 0.3.0 on, dropped before", () => {
  const [first] = result.routes;
  const more = { mtuBytes: 1300, advmssBytes: 1200, priority: 5, table: 100, scope: 0 };
  const routes = [{ destination: parsePrefix("0.0.0.0/0"), ...first, ...more }];
  for (const version of VERSIONS) {
    const text = JSON.parse(formatResult({ ...result, routes }, version));
    const plain = { dst: "0.0.0.0/0", gw: "10.0.0.1" };
    if (version < "0.3") expect(text.ip4.routes).toEqual([plain]);
    else {
      const all = { ...plain, mtu: 1300, advmss: 1200, priority: 5, table: 100, scope: 0 };
      expect(text.routes).toEqual([all]);
      expect(parseResult(text).routes).toEqual(routes);
    }
  }
});

test("A3: what we do not use ourselves is passed on: socketPath, pciID, hardware addresses of 20 bytes", () => {
  const previous = {
    cniVersion: "1.1.0",
    interfaces: [
      { name: "vhost0", socketPath: "/run/vhost.sock" },
      {
        name: "ib0",
        mac: "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0a:bc:de",
        pciID: "0000:03:00.0",
      },
    ],
    ips: [{ address: "10.9.0.2/16", interface: 1 }],
    routes: [{ dst: "10.8.0.0/16", scope: 253, priority: 0 }],
    dns: { domain: "example", options: ["ndots:5"] },
  };
  const passed = (version: "1.1.0" | "1.0.0" | "0.4.0") =>
    JSON.parse(formatResult(parseResult(previous), version));
  expect(passed("1.1.0")).toEqual(previous);
  expect(passed("1.0.0")).toEqual({ ...previous, cniVersion: "1.0.0" });
  expect(passed("0.4.0").interfaces).toEqual([
    { name: "vhost0" },
    { name: "ib0", mac: previous.interfaces[1]?.mac },
  ]);
});

test("dns of both: each field is whose says it last", () => {
  const before = {
    interfaces: [],
    addresses: [],
    routes: [],
    dns: { nameservers: ["10.0.0.1"], search: ["a"] },
  };
  expect(mergeResults(before, result).dns).toEqual({ nameservers: ["10.0.0.10"], search: ["a"] });
  const { dns: _, ...noDns } = result;
  expect(mergeResults(before, noDns).dns).toEqual(before.dns);
  expect(mergeResults(noDns, noDns).dns).toBeUndefined();
});
