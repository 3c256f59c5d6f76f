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
