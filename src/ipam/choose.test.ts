import { expect, test } from "bun:test";
import { formatIp, parseIp, parsePrefix } from "../net/mod.ts";
import { chooseAddress, gatewayOf, isUsable, usableOf } from "./choose.ts";

function choose(range: string, taken: string[], after?: string): string | undefined {
  const found = chooseAddress(parsePrefix(range), {
    taken: (address) => taken.includes(formatIp(address)),
    takenCount: () => taken.length,
    ...(after === undefined ? {} : { after: parseIp(after) }),
  });
  return found && formatIp(found);
}

test("the first pod follows network and gateway", () => {
  expect(choose("10.244.1.0/24", [])).toBe("10.244.1.2");
  expect(choose("fd00:1::/64", [])).toBe("fd00:1::2");
  expect(formatIp(gatewayOf(parsePrefix("10.244.1.0/24")))).toBe("10.244.1.1");
});

test("the search goes on behind the last one and wraps before IPv4's broadcast", () => {
  expect(choose("10.0.0.0/29", [], "10.0.0.5")).toBe("10.0.0.6");
  expect(choose("10.0.0.0/29", [], "10.0.0.6")).toBe("10.0.0.2");
  expect(choose("10.0.0.0/29", ["10.0.0.2", "10.0.0.3"], "10.0.0.6")).toBe("10.0.0.4");
});

test("IPv6 uses its last address", () => {
  expect(choose("fd00::/125", [], "fd00::6")).toBe("fd00::7");
  expect(choose("fd00::/125", [], "fd00::7")).toBe("fd00::2");
});

test("an exhausted range gives nothing", () => {
  expect(choose("10.0.0.0/30", [])).toBe("10.0.0.2");
  expect(choose("10.0.0.0/30", ["10.0.0.2"])).toBeUndefined();
  expect(choose("fd00::/126", ["fd00::2", "fd00::3"], "fd00::3")).toBeUndefined();
});

test("a range without room for a pod gives nothing", () => {
  for (const range of ["10.0.0.0/31", "10.0.0.1/32", "fd00::/127", "fd00::1/128"]) {
    expect(usableOf(parsePrefix(range))).toBeUndefined();
    expect(choose(range, [])).toBeUndefined();
  }
});

test("an address handed out last that lies outside, as after a new range, is ignored", () => {
  expect(choose("10.0.0.0/29", [], "10.9.0.5")).toBe("10.0.0.2");
});

test("what pods may have", () => {
  const range = parsePrefix("10.0.0.0/29");
  const usable = [0, 1, 2, 3, 4, 5, 6, 7, 8].filter((n) => isUsable(range, parseIp(`10.0.0.${n}`)));
  expect(usable).toEqual([2, 3, 4, 5, 6]);
  expect(isUsable(range, parseIp("fd00::2"))).toBe(false);
});
