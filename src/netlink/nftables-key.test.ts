/** Layouts as `nft --debug=netlink` prints them for the same elements (nftables 1.0.6). */
import { expect, test } from "bun:test";
import { encodeKey } from "./nftables-key.ts";

const hex = (texts: readonly string[], type: number, bytes: number) => {
  const key = encodeKey(texts, { type, bytes });
  return key && Buffer.from(key).toString("hex");
};
const [integer, ip, ip6, ether, proto, service, ifname] = [4, 7, 8, 9, 12, 13, 41];
const both = (a: number, b: number, c?: number) => (c === undefined ? a * 64 + b : (a * 64 + b) * 64 + c);

test("one part has its own length", () => {
  expect(hex(["10.244.0.2"], ip, 4)).toBe("0af40002");
  expect(hex(["fd00::2"], ip6, 16)).toBe("fd000000000000000000000000000002");
  expect(hex(["0a:58:0a:f4:00:02"], ether, 6)).toBe("0a580af40002");
  expect(hex(["8080"], service, 2)).toBe("1f90");
  expect(hex(["tcp"], proto, 1)).toBe("06");
  expect(hex(["cw1"], ifname, 16)).toBe("63773100000000000000000000000000");
});

test("parts of a concatenation fill registers of four bytes", () => {
  expect(hex(["cw1", "0a:58:0a:f4:00:02"], both(ifname, ether), 24)).toBe(
    "637731000000000000000000000000000a580af400020000",
  );
  expect(hex(["10.0.0.1", "udp", "53"], both(ip, proto, service), 12)).toBe("0a0000011100000000350000");
  expect(hex(["cw1", "0x1122"], both(ifname, integer), 32)).toBe(
    "6377310000000000000000000000000000000000000000000000000000001122",
  );
});

test("what only nft understands is left to it", () => {
  expect(hex(["10.0.0.0/8"], ip, 4)).toBeUndefined();
  expect(hex(["fd00::1"], ip, 4)).toBeUndefined();
  expect(hex(["cw*"], ifname, 16)).toBeUndefined();
  expect(hex(["a name of 16 byt"], ifname, 16)).toBeUndefined();
  expect(hex(["65536"], service, 2)).toBeUndefined();
  expect(hex(["http"], service, 2)).toBeUndefined();
  expect(hex(["1", "2"], both(integer, integer), 8)).toBeUndefined();
  expect(hex(["10.0.0.1"], both(ip, service), 8)).toBeUndefined();
  expect(hex(["10.0.0.1"], 19, 4)).toBeUndefined();
  expect(hex(["10.0.0.1"], ip, 8)).toBeUndefined();
  expect(hex([], 0, 0)).toBeUndefined();
});
