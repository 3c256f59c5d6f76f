import { expect, test } from "bun:test";
import {
  formatIp,
  formatPrefix,
  networkOf,
  parseInterfaceAddress,
  parseIp,
  parsePrefix,
  prefixContains,
  prefixCovers,
  prefixesOverlap,
  prefixLast,
  subnet,
} from "./mod.ts";

test("a network with host bits is refused, and the error says what was meant", () => {
  expect(() => parsePrefix("10.244.0.16/16")).toThrow("write 10.244.0.0/16");
  expect(() => parsePrefix("10.0.0.0/33")).toThrow("is not a network");
  expect(() => parsePrefix("10.0.0.0/08")).toThrow("is not a network");
  expect(() => parsePrefix("10.0.0.0")).toThrow("write it like");
});

test("membership, cover and overlap", () => {
  const pods = parsePrefix("10.244.0.0/16");
  expect(prefixContains(pods, parseIp("10.244.255.255"))).toBe(true);
  expect(prefixContains(pods, parseIp("10.245.0.0"))).toBe(false);
  expect(prefixContains(pods, parseIp("::ffff:10.244.0.1"))).toBe(false);
  expect(prefixCovers(pods, parsePrefix("10.244.3.0/24"))).toBe(true);
  expect(prefixCovers(parsePrefix("10.244.3.0/24"), pods)).toBe(false);
  expect(prefixesOverlap(parsePrefix("10.244.3.0/24"), pods)).toBe(true);
  expect(prefixesOverlap(parsePrefix("10.96.0.0/12"), pods)).toBe(false);
  expect(prefixContains(parsePrefix("0.0.0.0/0"), parseIp("8.8.8.8"))).toBe(true);
});

test("subnets by number", () => {
  expect(formatPrefix(subnet(parsePrefix("10.244.0.0/16"), 24, 255n))).toBe("10.244.255.0/24");
  expect(formatPrefix(subnet(parsePrefix("fd00:1::/56"), 64, 3n))).toBe("fd00:1:0:3::/64");
  expect(() => subnet(parsePrefix("10.244.0.0/16"), 24, 256n)).toThrow("has no /24 number 256");
  expect(() => subnet(parsePrefix("10.244.0.0/16"), 8, 0n)).toThrow("does not fit");
  expect(formatIp(prefixLast(parsePrefix("10.244.1.0/24")))).toBe("10.244.1.255");
});

test("an interface address keeps its host bits", () => {
  expect(formatPrefix(networkOf(parseInterfaceAddress("10.244.1.7/24")))).toBe("10.244.1.0/24");
});
