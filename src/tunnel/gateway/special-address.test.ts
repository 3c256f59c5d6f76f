import { expect, test } from "bun:test";
import { ipBytes, parseIp } from "../../net/mod.ts";
import { isForwardable4, isForwardable6 } from "./special-address.ts";

const view = (address: string) => new DataView(ipBytes(parseIp(address)).buffer);

test.each([
  ["0.0.0.0", false],
  ["0.255.255.255", false],
  ["1.0.0.0", true],
  ["126.255.255.255", true],
  ["127.0.0.1", false],
  ["128.0.0.0", true],
  ["169.253.255.255", true],
  ["169.254.0.1", false],
  ["169.255.0.0", true],
  ["223.255.255.255", true],
  ["224.0.0.1", false],
  ["240.0.0.1", false],
  ["255.255.255.255", false],
] as const)("%s: %s", (address, forwarded) => {
  expect(isForwardable4(view(address).getInt32(0))).toBe(forwarded);
});

test.each([
  ["::", false],
  ["::1", false],
  ["::2", true],
  ["::1:0:0:1", true],
  ["::ffff:10.0.0.1", true],
  ["fd00::1", true],
  ["fe7f::1", true],
  ["fe80::1", false],
  ["febf::1", false],
  ["fec0::1", true],
  ["ff02::1", false],
  ["ffff::", false],
] as const)("%s: %s", (address, forwarded) => {
  expect(isForwardable6(view(address), 0)).toBe(forwarded);
});
