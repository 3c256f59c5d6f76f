import { expect, test } from "bun:test";
import { randomBytes, X25519Key, x25519, x25519Public } from "./mod.ts";

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");
const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

test("RFC 7748 section 5.2: the two vectors of X25519", () => {
  for (const [scalar, u, out] of [
    [
      "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
      "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
      "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ],
    [
      "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
      "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
      "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ],
  ] as const) {
    using key = new X25519Key(unhex(scalar));
    expect(hex(key.agree(unhex(u)))).toBe(out);
  }
});

test("RFC 7748 section 6.1: Alice and Bob", () => {
  using alice = new X25519Key(unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
  using bob = new X25519Key(unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
  expect(hex(alice.publicKey)).toBe("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  expect(hex(bob.publicKey)).toBe("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
  expect(hex(alice.agree(bob.publicKey))).toBe(shared);
  expect(hex(bob.agree(alice.publicKey))).toBe(shared);
});

test("a public key of low order has no shared secret (RFC 7748 section 6.1)", () => {
  using key = new X25519Key(randomBytes(32));
  for (const low of [
    "00".repeat(32),
    `01${"00".repeat(31)}`,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    `ec${"ff".repeat(30)}7f`,
    `ed${"ff".repeat(30)}7f`,
    `ee${"ff".repeat(30)}7f`,
  ])
    expect(key.agree(unhex(low))).toBeUndefined();
  // The library's queue of errors is empty again: the next call is not confused by it.
  expect(key.agree(new X25519Key(randomBytes(32)).publicKey)).toHaveLength(32);
});

test("it agrees with the runtime's", () => {
  for (let round = 0; round < 20; round++) {
    const [a, b] = [randomBytes(32), randomBytes(32)];
    using key = new X25519Key(a);
    expect(hex(key.publicKey)).toBe(hex(x25519Public(a)));
    expect(hex(key.agree(x25519Public(b)))).toBe(hex(x25519(b, key.publicKey)));
  }
});

test("lengths are checked, and a disposed key is not used", () => {
  expect(() => new X25519Key(new Uint8Array(31))).toThrow("32 bytes, not 31");
  const key = new X25519Key(randomBytes(32));
  expect(() => key.agree(new Uint8Array(33))).toThrow("32 bytes, not 33");
  key[Symbol.dispose]();
  key[Symbol.dispose]();
  expect(() => key.agree(new Uint8Array(32))).toThrow("disposed");
});
