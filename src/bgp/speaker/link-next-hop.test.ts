import { expect, test } from "bun:test";
import { formatIp, ipBytes, ipFromBytes, parseInterfaceAddress, parseIp } from "../../net/mod.ts";
import type { AddressInfo } from "../../netlink/mod.ts";
import { nextHopOf } from "./link-next-hop.ts";

const USUAL = {
  ...{ linkIndex: 2, scope: 0, permanent: true, nodad: false, noprefixroute: false },
  ...{ deprecated: false, tentative: false, dadFailed: false },
};
const at = (text: string, more: Partial<AddressInfo> = {}): AddressInfo => ({
  ...USUAL,
  scope: text.startsWith("fe80") ? 253 : 0,
  ...more,
  address: parseInterfaceAddress(text),
});

/** Next hops that are said of a link with some addresses beside 192.0.2.1/30. */
function said(addresses: readonly AddressInfo[], remote = "192.0.2.2"): string[] {
  const all = [at("192.0.2.1/30"), at("2001:db8:ff::1/64", { linkIndex: 3 }), ...addresses];
  const ends = { local: ipBytes(parseIp("192.0.2.1")), remote: ipBytes(parseIp(remote)) };
  const bytes = nextHopOf(all, ends) ?? new Uint8Array();
  return Array.from({ length: bytes.length / 16 }, (_, i) =>
    formatIp(ipFromBytes(bytes.slice(16 * i, 16 * i + 16))),
  );
}

test("a link's global address, and its link-local one for a neighbor on it", () => {
  const both = [at("fe80::1/64"), at("2001:db8::1/64")];
  expect(said(both)).toEqual(["2001:db8::1", "fe80::1"]);
  expect(said(both, "198.51.100.1")).toEqual(["2001:db8::1"]);
  expect(said([at("fe80::1/64")])).toEqual(["fe80::1"]);
  expect(said([at("fe80::1/64")], "198.51.100.1")).toEqual([]);
  expect(said([at("2001:db8::1/64", { dadFailed: true })])).toEqual([]);
});

test("an address that comes and goes, or has no network, is said where there is no other", () => {
  const [shared, temporary] = [at("2001:db8::9/128"), at("2001:db8::8/64", { permanent: false })];
  expect(said([shared, temporary, at("2001:db8::1/64")])).toEqual(["2001:db8::1"]);
  expect(said([shared])).toEqual(["2001:db8::9"]);
});
