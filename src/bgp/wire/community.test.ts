import { expect, test } from "bun:test";
import { hex, toHex } from "../../../test/support/bgp-bytes.ts";
import { randomExtended } from "../../../test/support/bgp-random.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import {
  COMMUNITY,
  decodeExtendedCommunity,
  decodeRd,
  encodeExtendedCommunity,
  encodeRd,
  type ExtendedCommunity,
  parseAdministered,
  parseCommunity,
  parseEsi,
  parseExtendedCommunity,
  parseLargeCommunity,
  printCommunity,
  printEsi,
  printExtendedCommunity,
  printLargeCommunity,
  printRd,
} from "./mod.ts";

test("RFC 1997, 8326, 9494, 7999: communities as text", () => {
  for (const [value, text] of [
    [0xfde90064, "65001:100"],
    [0, "0:0"],
    [COMMUNITY.noExport, "no-export"],
    [COMMUNITY.noAdvertise, "no-advertise"],
    [COMMUNITY.noExportSubconfed, "local-AS"],
    [COMMUNITY.gracefulShutdown, "graceful-shutdown"],
    [COMMUNITY.llgrStale, "llgr-stale"],
    [COMMUNITY.noLlgr, "no-llgr"],
    [COMMUNITY.blackhole, "blackhole"],
    [0xffff1234, "65535:4660"],
  ] as const) {
    expect(printCommunity(value)).toBe(text);
    expect(parseCommunity(text)).toBe(value);
  }
  for (const text of ["", "65536:1", "1:65536", "1", "01:1", "1:2:3", "none"])
    expect(parseCommunity(text), text).toBeUndefined();
});

test("RFC 8092 section 5: large communities as text", () => {
  expect(printLargeCommunity({ global: 65_001, local1: 0, local2: 4_294_967_295 })).toBe(
    "65001:0:4294967295",
  );
  expect(parseLargeCommunity("65001:0:4294967295")).toEqual({
    global: 65_001,
    local1: 0,
    local2: 4_294_967_295,
  });
  for (const text of ["1:2", "1:2:4294967296", "01:2:3", ""])
    expect(parseLargeCommunity(text)).toBeUndefined();
});

test("RFC 4364 section 4.2: route distinguishers of each type", () => {
  for (const [bytes, text] of [
    ["0000 fde9 00000064", "65001:100"],
    ["0001 0aff0001 0002", "10.255.0.1:2"],
    ["0002 fa56ea00 0007", "4200000000:7"],
    ["0009 010203040506", "0x0009010203040506"],
  ] as const) {
    const rd = decodeRd(hex(bytes), 0);
    expect(printRd(rd)).toBe(text);
    expect(toHex(Uint8Array.from(encodeRd(rd)))).toBe(toHex(hex(bytes)));
  }
});

test("RFC 4360, 7432, 8214, 8584, 9012, 9047, 9135: extended communities, by field", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ["00 02 fde9 00000064", "route-target", "RT:65001:100"],
    ["01 02 0aff0001 0064", "route-target", "RT:10.255.0.1:100"],
    ["02 02 fa56ea00 0064", "route-target", "RT:4200000000:100"],
    ["00 03 fde9 00000001", "site-of-origin", "SoO:65001:1"],
    ["03 0c 0000 0000 0008", "encapsulation", "ET:8"],
    ["03 0b 0000 00000007", "color", "Color:7"],
    ["03 0d 0000 00000000", "default-gateway", "Default Gateway"],
    ["06 00 00 00 00000005", "mac-mobility", "MM:5"],
    ["06 00 01 00 00000000", "mac-mobility", "MM:0, sticky MAC"],
    ["06 01 00 0000 000000", "esi-label", "ESI-label-Rt:AA"],
    ["06 01 01 0000 0003e8", "esi-label", "ESI-label-Rt:SA:1000"],
    ["06 02 44 38 39 ff ff 01", "es-import", "ES-Import-Rt:44:38:39:ff:ff:01"],
    ["06 03 02 00 00 00 0f a0", "router-mac", "Rmac:02:00:00:00:0f:a0"],
    ["06 04 0002 05dc 0000", "layer2-attributes", "L2:flags 0x2, mtu 1500"],
    ["06 06 02 0000 00 7fff", "df-election", "DF: (alg: 2, pref: 32767)"],
    ["06 08 01 00 00000000", "nd-flags", "ND:Router Flag"],
    ["06 08 05 00 00000000", "nd-flags", "ND:Router Flag,Proxy"],
    ["40 04 fde9 4b3ebc20", "link-bandwidth", "LB:65001:12500000"],
    // A type that is not known, and reserved bits in one that is: octets.
    ["80 06 0000 00000000", "unknown", "0x8006000000000000"],
    ["03 0c 0001 0000 0008", "unknown", "0x030c000100000008"],
    ["06 00 03 00 00000005", "unknown", "0x0600030000000005"],
    ["40 02 fde9 00000064", "unknown", "0x4002fde900000064"],
  ];
  for (const [bytes, kind, text] of cases) {
    const community = decodeExtendedCommunity(hex(bytes));
    expect([community.kind, printExtendedCommunity(community)], bytes).toEqual([
      kind as ExtendedCommunity["kind"],
      text,
    ]);
    expect(toHex(Uint8Array.from(encodeExtendedCommunity(community)))).toBe(toHex(hex(bytes)));
  }
});

test("extended communities: any eight octets come back, and any value does (random)", () => {
  const seed = newSeed();
  const random = new Random(seed);
  for (let i = 0; i < 4000; i++) {
    const octets = random.bytes(8);
    if (random.chance(0.8)) octets[0] = random.pick([0, 1, 2, 3, 6, 0x40]);
    if (random.chance(0.8)) octets[1] = random.below(14);
    const bytes = Uint8Array.from(encodeExtendedCommunity(decodeExtendedCommunity(octets)));
    expect(toHex(bytes), `seed ${seed}`).toBe(toHex(octets));
    const community = randomExtended(random);
    const again = decodeExtendedCommunity(Uint8Array.from(encodeExtendedCommunity(community)));
    expect(again, `seed ${seed}`).toEqual(community);
  }
});

test("extended communities are read from text", () => {
  for (const text of [
    "RT:65001:100",
    "RT:10.0.0.1:7",
    "RT:4200000000:1",
    "SoO:1:2",
    "ET:8",
    "Rmac:02:00:00:00:0f:a0",
    "MM:3",
    "Color:9",
    "0x8006000000000000",
  ]) {
    const community = parseExtendedCommunity(text.toLowerCase());
    expect(community && printExtendedCommunity(community)).toBe(text);
  }
  for (const text of [
    "",
    "rt:",
    "rt:1",
    "rt:70000:70000",
    "rt:10.0.0.1:65536",
    "rt:10.0.0:1",
    "et:65536",
    "mm:4294967296",
    "rmac:02:00",
    "0x80",
    "xx:1:2",
  ])
    expect(parseExtendedCommunity(text), text).toBeUndefined();
  expect(parseAdministered("65001:4294967296")).toBeUndefined();
});

test("RFC 7432 section 5: Ethernet segment identifiers as text", () => {
  const text = "03:44:38:39:ff:ff:01:00:00:01";
  const esi = parseEsi(text);
  expect(esi && printEsi(esi)).toBe(text);
  expect(parseEsi("03:44")).toBeUndefined();
});
