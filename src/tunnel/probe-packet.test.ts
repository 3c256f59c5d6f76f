/** Probes as packets, against packets that the kernel made, and their own sums. */
import { expect, test } from "bun:test";
import { ipBytes, parseIp } from "../net/mod.ts";
import { probePacket } from "./probe-packet.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));
const headers = (source: string, target: string) => ({
  source: ipBytes(parseIp(source)),
  target: ipBytes(parseIp(target)),
  sourcePort: 51820,
  targetPort: 4500,
  hopLimit: 64,
});

/** The sum of all 16-bit words, which is 0xffff over anything with its checksum in it (RFC 1071). */
function sum(...parts: readonly Uint8Array[]): number {
  const bytes = Buffer.concat(parts);
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) total += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

test("IPv4: header, DF, class, ports, and both sums", () => {
  const packet = probePacket(headers("192.0.2.1", "198.51.100.2"), [hex("43574159"), hex("010203")], 10);
  expect(Buffer.from(packet.subarray(0, 10)).toString("hex")).toBe("45480026000040004011");
  expect(Buffer.from(packet.subarray(20, 26)).toString("hex")).toBe("ca6c11940012");
  expect(Buffer.from(packet.subarray(28)).toString("hex")).toBe("43574159010203000000");
  expect(sum(packet.subarray(0, 20))).toBe(0xffff);
  expect(sum(packet.subarray(12, 20), hex("0011 0012"), packet.subarray(20))).toBe(0xffff);
});

test("IPv6: header, class, no flow label, and the sum, of an odd length too", () => {
  const packet = probePacket(headers("2001:db8::1", "2001:db8::2"), [hex("43574159")], 9);
  expect(Buffer.from(packet.subarray(0, 8)).toString("hex")).toBe("6480000000111140");
  expect(sum(packet.subarray(8, 40), hex("00000011 00000011"), packet.subarray(40))).toBe(0xffff);
});

test("a sum that comes to nothing is written as all ones (RFC 768)", () => {
  const some = probePacket(headers("10.0.0.1", "10.0.0.2"), [hex("0000")], 2);
  const before = new DataView(some.buffer).getUint16(26);
  const filler = new Uint8Array(2);
  new DataView(filler.buffer).setUint16(0, before);
  const packet = probePacket(headers("10.0.0.1", "10.0.0.2"), [filler], 2);
  expect(new DataView(packet.buffer).getUint16(26)).toBe(0xffff);
});
