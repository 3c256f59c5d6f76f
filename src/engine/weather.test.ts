import { expect, test } from "bun:test";
import { NetlinkError, NftablesError } from "../netlink/mod.ts";
import { SystemError } from "../sys/mod.ts";
import { DecodeError } from "../wire/mod.ts";
import { isBug, weather } from "./weather.ts";

test("what the world can cause is borne, what only a mistake can cause is not", () => {
  const borne = [
    new NetlinkError("add route", 1),
    new NftablesError("apply nftables rules", "Error: no"),
    new SystemError("socket", 24),
    new DecodeError("short"),
    new SyntaxError("JSON"),
    new Error("a device says no"),
  ];
  for (const error of borne) expect(weather(error)).toBe(error);
  for (const bug of [new TypeError("x"), new RangeError("x"), new ReferenceError("x"), "x", undefined]) {
    expect(isBug(bug)).toBe(true);
    expect(() => weather(bug)).toThrow();
  }
});
