import { expect, test } from "bun:test";
import { blake2s, blake2sMac, hmacBlake2s } from "./mod.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const ascii = (text: string) => new TextEncoder().encode(text);
const counting = (length: number) => Uint8Array.from({ length }, (_, i) => i);

test("RFC 7693 appendix B: BLAKE2s of abc, in parts", () => {
  const digest = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982";
  expect(hex(blake2s(ascii("abc")))).toBe(digest);
  expect(hex(blake2s(ascii("a"), new Uint8Array(0), ascii("bc")))).toBe(digest);
});

test("inputs of the lengths of RFC 7693 appendix E: around block borders (value of CPython's hashlib)", () => {
  const sequence = (length: number, seed: number) => {
    let a = Math.imul(0xdead4bad, seed) >>> 0;
    let b = 1;
    return Uint8Array.from({ length }, () => {
      const next = (a + b) >>> 0;
      a = b;
      b = next;
      return next >>> 24;
    });
  };
  const digests = [0, 3, 64, 65, 255, 1024].map((length) => blake2s(sequence(length, length)));
  expect(hex(blake2s(...digests))).toBe("7c23dc21fe153229b4b6eb325499e60fbc1b4889893882f3852b5b06d2048a4e");
});

test("the BLAKE2 project's blake2s vectors, with a key, cut to 16 bytes as WireGuard's MAC (values of CPython's hashlib)", () => {
  expect(hex(blake2sMac(counting(32), new Uint8Array(0)))).toBe("9536f9b267655743dee97b8a670f9f53");
  expect(hex(blake2sMac(counting(32), ascii("abc")))).toBe("61ba5f165c194692e09d12520cc4c74a");
  expect(hex(blake2sMac(counting(16), counting(200)))).toBe("b8d300fa7937e4d1e67c8468df4c9a43");
});

test("RFC 2104 with BLAKE2s (values of CPython's hmac)", () => {
  expect(hex(hmacBlake2s(counting(32), ascii("what do ya want for nothing?")))).toBe(
    "14229dde9cdbd4dd31b1a703ac36832ecc9177e0ba0d4632568515aaec7e401f",
  );
  expect(hex(hmacBlake2s(counting(32), new Uint8Array(0)))).toBe(
    "e2641d24dfa8dd89e8cb77f1cdc77d8c006e5bebdfc4d6a3a3a6f8d5b7586fb0",
  );
});

test("lengths are checked before the library is called", () => {
  expect(() => blake2sMac(new Uint8Array(0), ascii("x"))).toThrow("1 to 32 bytes");
  expect(() => blake2sMac(new Uint8Array(33), ascii("x"))).toThrow("1 to 32 bytes");
  expect(() => hmacBlake2s(new Uint8Array(31), ascii("x"))).toThrow("32 bytes, not 31");
  expect(() => blake2s(new Uint8Array((1 << 20) + 1))).toThrow("more than");
});
