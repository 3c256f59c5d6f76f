import { describe, expect, test } from "bun:test";
import { formatInterfaceAddress, formatIp, formatPrefix, parsePrefix, prefixesOverlap } from "../net/mod.ts";
import { nodeCount, nodeRange, rangeOf } from "./node-range.ts";

// pods, nodeBits, index: network, gateway, first and last pod, capacity
const table: [string, number, number, string, string, string, string, bigint][] = [
  ["10.244.0.0/16", 8, 0, "10.244.0.0/24", "10.244.0.1/24", "10.244.0.2", "10.244.0.254", 253n],
  ["10.244.0.0/16", 8, 1, "10.244.1.0/24", "10.244.1.1/24", "10.244.1.2", "10.244.1.254", 253n],
  ["10.244.0.0/16", 8, 255, "10.244.255.0/24", "10.244.255.1/24", "10.244.255.2", "10.244.255.254", 253n],
  ["10.244.0.0/16", 10, 3, "10.244.0.192/26", "10.244.0.193/26", "10.244.0.194", "10.244.0.254", 61n],
  ["10.0.0.0/8", 16, 65535, "10.255.255.0/24", "10.255.255.1/24", "10.255.255.2", "10.255.255.254", 253n],
  ["192.0.2.0/24", 4, 2, "192.0.2.32/28", "192.0.2.33/28", "192.0.2.34", "192.0.2.46", 13n],
  ["192.0.2.16/28", 2, 3, "192.0.2.28/30", "192.0.2.29/30", "192.0.2.30", "192.0.2.30", 1n],
  ["10.244.0.0/16", 0, 0, "10.244.0.0/16", "10.244.0.1/16", "10.244.0.2", "10.244.255.254", 65533n],
  [
    "fd00:1:2::/56",
    8,
    9,
    "fd00:1:2:9::/64",
    "fd00:1:2:9::1/64",
    "fd00:1:2:9::2",
    "fd00:1:2:9:ffff:ffff:ffff:fffe",
    2n ** 64n - 3n,
  ],
  ["fd00:1:2::/120", 6, 63, "fd00:1:2::fc/126", "fd00:1:2::fd/126", "fd00:1:2::fe", "fd00:1:2::fe", 1n],
  [
    "fd00:1:2::/48",
    16,
    65535,
    "fd00:1:2:ffff::/64",
    "fd00:1:2:ffff::1/64",
    "fd00:1:2:ffff::2",
    "fd00:1:2:ffff:ffff:ffff:ffff:fffe",
    2n ** 64n - 3n,
  ],
];

describe("PodCIDR and nodeBits", () => {
  for (const [pods, bits, index, network, gateway, first, last, capacity] of table)
    test(`${pods} nodeBits ${bits} range ${index}`, () => {
      const range = nodeRange(parsePrefix(pods), bits, index);
      expect(formatPrefix(range.network)).toBe(network);
      expect(formatInterfaceAddress(range.gateway)).toBe(gateway);
      expect(formatIp(range.firstPod)).toBe(first);
      expect(formatIp(range.lastPod)).toBe(last);
      expect(range.capacity).toBe(capacity);
      expect(rangeOf(range.network)).toEqual(range);
    });

  for (const [pods, bits, text] of [
    ["192.0.2.0/24", 7, "use at most 6"],
    ["10.244.0.0/16", 15, "use at most 14"],
    ["fd00::/120", 7, "use at most 6"],
    ["10.0.0.0/31", 0, "too small for a pod network"],
    ["10.0.0.0/16", -1, "whole number"],
    ["10.0.0.0/16", 1.5, "whole number"],
    ["10.0.0.0/16", Number.NaN, "whole number"],
  ] as const)
    test(`refuses ${pods} nodeBits ${bits}`, () => {
      expect(() => nodeRange(parsePrefix(pods), bits, 0)).toThrow(text);
    });

  test("refuses host bits, naming the network that was meant", () => {
    expect(() => parsePrefix("10.244.0.16/16")).toThrow("write 10.244.0.0/16");
  });

  test("refuses the range after the last", () => {
    expect(() => nodeRange(parsePrefix("10.244.0.0/16"), 8, 256)).toThrow(
      "has 256 ranges, none with number 256",
    );
  });

  test("all ranges of a network are apart and inside", () => {
    const pods = parsePrefix("10.0.0.0/24");
    const ranges = Array.from({ length: nodeCount(4) }, (_, k) => nodeRange(pods, 4, k).network);
    for (const [i, a] of ranges.entries()) {
      expect(prefixesOverlap(pods, a)).toBe(true);
      for (const b of ranges.slice(i + 1)) expect(prefixesOverlap(a, b)).toBe(false);
    }
  });
});
