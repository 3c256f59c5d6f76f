import { expect, test } from "bun:test";
import {
  formatEndpoint,
  formatMac,
  macBytes,
  macFromBytes,
  parseEndpoint,
  parseMac,
  tryParseEndpoint,
} from "./mod.ts";

test("endpoints: IPv6 in brackets, ports 1 to 65535, no names", () => {
  for (const text of ["192.0.2.1:51820", "[2001:db8::1]:1"])
    expect(formatEndpoint(parseEndpoint(text))).toBe(text);
  for (const text of [
    "192.0.2.1",
    "192.0.2.1:0",
    "192.0.2.1:65536",
    "2001:db8::1:80",
    "[192.0.2.1]:80",
    "hub.example.com:51820",
    ":80",
  ])
    expect(tryParseEndpoint(text)).toBeUndefined();
});

test("Ethernet addresses", () => {
  const address = parseMac("02:00:5E:10:00:ff");
  expect(formatMac(address)).toBe("02:00:5e:10:00:ff");
  expect(macFromBytes(macBytes(address))).toBe(address);
  expect(() => parseMac("02:00:5e:10:00")).toThrow("write it like");
});
