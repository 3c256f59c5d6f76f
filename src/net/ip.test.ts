import { expect, test } from "bun:test";
import {
  formatIp,
  ip,
  ipBytes,
  ipCompare,
  ipEqual,
  ipFromBytes,
  ipPlus,
  parseIp,
  tryParseIp,
} from "./mod.ts";

test("IPv4 text in canonical form only", () => {
  for (const text of ["0.0.0.0", "192.0.2.1", "255.255.255.255"]) expect(formatIp(parseIp(text))).toBe(text);
  for (const text of ["", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1.2.3.4 ", "a.b.c.d", "1..2.3"])
    expect(tryParseIp(text)).toBeUndefined();
});

test("RFC 5952: IPv6 text is shortest, lower case, first longest run of zeros", () => {
  const cases: [string, string][] = [
    ["2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:DB8::", "2001:db8::"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["::ffff:192.0.2.1", "::ffff:c000:201"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["::1:0", "::1:0"],
  ];
  for (const [text, canonical] of cases) expect(formatIp(parseIp(text))).toBe(canonical);
  for (const text of [
    ":",
    ":::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "12345::",
    "g::",
    "fe80::1%eth0",
    "::1.2.3",
    "1:2:3:4:5:6:7::8",
  ])
    expect(tryParseIp(text)).toBeUndefined();
});

test("bytes and text say the same (random addresses)", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 16;
  };
  for (let i = 0; i < 2000; i++) {
    const bytes = new Uint8Array(i % 2 === 0 ? 4 : 16).map(() => (next() % 3 === 0 ? 0 : next() & 255));
    const address = ipFromBytes(bytes);
    expect(ipBytes(address), `seed ${seed}`).toEqual(bytes);
    expect(ipEqual(parseIp(formatIp(address)), address), `seed ${seed}: ${formatIp(address)}`).toBe(true);
  }
});

test("arithmetic stays inside the family", () => {
  expect(formatIp(ipPlus(parseIp("10.0.0.255"), 1n))).toBe("10.0.1.0");
  expect(() => ipPlus(parseIp("255.255.255.255"), 1n)).toThrow(RangeError);
  expect(() => ip(4, -1n)).toThrow(RangeError);
  expect(ipCompare(parseIp("255.255.255.255"), parseIp("::"))).toBeLessThan(0);
  expect(ipCompare(parseIp("10.0.0.2"), parseIp("10.0.0.1"))).toBeGreaterThan(0);
});
