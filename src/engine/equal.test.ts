import { expect, test } from "bun:test";
import { parseIp, Secret } from "../net/mod.ts";
import { sameValue } from "./equal.ts";

test("values are compared deeply", () => {
  expect(sameValue({ a: [parseIp("10.0.0.1"), 2] }, { a: [parseIp("10.0.0.1"), 2] })).toBe(true);
  expect(sameValue({ a: [parseIp("10.0.0.1")] }, { a: [parseIp("10.0.0.2")] })).toBe(false);
  expect(sameValue([1, 2], [1])).toBe(false);
  expect(sameValue({ a: null }, { a: undefined })).toBe(false);
});

test("an absent field is one that is undefined", () => {
  expect(sameValue({ a: 1, b: undefined }, { a: 1 })).toBe(true);
  expect(sameValue({ a: 1 }, { a: 1, b: 2 })).toBe(false);
});

test("secrets are compared by their bytes", () => {
  const bytes = new Uint8Array(32).fill(7);
  expect(sameValue(new Secret(bytes), new Secret(bytes))).toBe(true);
  expect(sameValue(new Secret(bytes), Secret.random())).toBe(false);
});
