import { expect, test } from "bun:test";
import { formatRateBits, parseRateBits } from "./rate.ts";

test("a rate is read in any case and comes back in its largest unit", () => {
  for (const [text, bits, shown] of [
    ["64kbit", 64_000, "64kbit"],
    ["1500kbit", 1_500_000, "1500kbit"],
    ["1000kbit", 1_000_000, "1Mbit"],
    ["500MBIT", 500_000_000, "500Mbit"],
    ["2500Mbit", 2_500_000_000, "2500Mbit"],
    ["9999999Gbit", 9_999_999e9, "9999999Gbit"],
  ] as const) {
    expect(parseRateBits(text)).toBe(bits);
    expect(formatRateBits(bits)).toBe(shown);
    expect(parseRateBits(shown)).toBe(bits);
  }
});

test("what is no rate is refused with how to write one", () => {
  for (const text of ["", "1", "0Mbit", "1.5Gbit", "1 Gbit", "1Gb", "-1Gbit", "12345678kbit", "1Gbit\n"])
    expect(() => parseRateBits(text)).toThrow("is not a rate; write it like 500Mbit, 1Gbit or 800kbit");
  expect(() => parseRateBits("63kbit")).toThrow('"63kbit" is less than 64kbit; write 64kbit or more');
});
