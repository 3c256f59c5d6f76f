import { expect, test } from "bun:test";
import { ed25519Public, ed25519Signer, ed25519Verify, equalBytes, hkdf, hmacSha256, sha256 } from "./mod.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("FIPS 180-4: SHA-256 of abc, in parts", () => {
  expect(hex(sha256("a", new Uint8Array([98]), "c"))).toBe(
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});

test("RFC 4231 test case 2: HMAC-SHA-256", () => {
  expect(hex(hmacSha256(new TextEncoder().encode("Jefe"), "what do ya want ", "for nothing?"))).toBe(
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  );
});

test("RFC 5869 test case 3: HKDF-SHA-256 without salt and info", () => {
  expect(hex(hkdf(new Uint8Array(22).fill(0x0b), "", 42))).toBe(
    "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
  );
});

test("a signature is refused when anything was changed, and malformed input is not an error", () => {
  const seed = new Uint8Array(32).fill(7);
  const message = new TextEncoder().encode("revision 7");
  const signature = ed25519Signer(seed)(message);
  const key = ed25519Public(seed);
  expect(ed25519Verify(key, message, signature)).toBe(true);
  for (const index of [0, 31, 63]) {
    const changed = new Uint8Array(signature);
    changed[index] = (changed[index] ?? 0) ^ 1;
    expect(ed25519Verify(key, message, changed)).toBe(false);
  }
  expect(ed25519Verify(key, new Uint8Array(0), signature)).toBe(false);
  expect(ed25519Verify(new Uint8Array(31), message, signature)).toBe(false);
  expect(ed25519Verify(key, message, new Uint8Array(3))).toBe(false);
});

test("comparison of different lengths is false, not an error", () => {
  expect(equalBytes(new Uint8Array(3), new Uint8Array(4))).toBe(false);
  expect(equalBytes(new Uint8Array([1]), new Uint8Array([1]))).toBe(true);
});
