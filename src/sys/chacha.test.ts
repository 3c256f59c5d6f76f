import { expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import {
  chacha20Poly1305Open,
  chacha20Poly1305Seal,
  xchacha20Poly1305Open,
  xchacha20Poly1305Seal,
} from "./mod.ts";

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");
const unhex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));

// Both documents use the same text, key and additional data.
const sunscreen = new TextEncoder().encode(
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
);
const key = unhex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
const additional = unhex("50515253c0c1c2c3c4c5c6c7");

test("RFC 8439 section 2.8.2: ChaCha20-Poly1305", () => {
  const aead = { key, additional, nonce: unhex("070000004041424344454647") };
  const sealed = chacha20Poly1305Seal(sunscreen, aead);
  expect(hex(sealed)).toBe(
    hex(
      unhex(`d31a8d34648e60db7b86afbc53ef7ec2 a4aded51296e08fea9e2b5a736ee62d6 3dbea45e8ca9671282fafb69da92728b
        1a71de0a9e060b2905d6a5b67ecd3b36 92ddbd7f2d778b8c9803aee328091b58 fab324e4fad675945585808b4831d7bc
        3ff4def08e4b7a9de576d26586cec64b 6116 1ae10b594f09e26a7e902ecbd0600691`),
    ),
  );
  expect(hex(chacha20Poly1305Open(sealed, aead))).toBe(hex(sunscreen));
});

test("draft-irtf-cfrg-xchacha-03 appendix A.3.1: XChaCha20-Poly1305", () => {
  const aead = { key, additional, nonce: unhex("404142434445464748494a4b4c4d4e4f5051525354555657") };
  const sealed = xchacha20Poly1305Seal(sunscreen, aead);
  expect(hex(sealed)).toBe(
    hex(
      unhex(`bd6d179d3e83d43b9576579493c0e939 572a1700252bfaccbed2902c21396cbb 731c7f1b0b4aa6440bf3a82f4eda7e39
        ae64c6708c54c216cb96b72e1213b452 2f8c9ba40db5d945b11b69b982c1bb9e 3f3fac2bc369488f76b2383565d3fff9
        21f9664c97637da9768812f615c68b13 b52e c0875924c1c7987947deafd8780acf49`),
    ),
  );
  expect(hex(xchacha20Poly1305Open(sealed, aead))).toBe(hex(sunscreen));
});

const seed = newSeed();
test(`what was changed anywhere does not open (seed ${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 300; round++) {
    const text = random.bytes(random.below(100));
    const long = random.chance(0.5);
    const aead = {
      key: random.bytes(32),
      nonce: random.bytes(long ? 24 : 12),
      additional: random.bytes(random.below(40)),
    };
    const seal = long ? xchacha20Poly1305Seal : chacha20Poly1305Seal;
    const open = long ? xchacha20Poly1305Open : chacha20Poly1305Open;
    const sealed = seal(text, aead);
    expect(hex(open(sealed, aead))).toBe(hex(text));
    const flipped = (bytes: Uint8Array) => {
      const copy = bytes.slice();
      const at = random.below(copy.length);
      copy[at] = (copy[at] as number) ^ (1 << random.below(8));
      return copy;
    };
    expect(open(flipped(sealed), aead)).toBeUndefined();
    expect(open(sealed, { ...aead, key: flipped(aead.key) })).toBeUndefined();
    expect(open(sealed, { ...aead, nonce: flipped(aead.nonce) })).toBeUndefined();
    if (aead.additional.length > 0)
      expect(open(sealed, { ...aead, additional: flipped(aead.additional) })).toBeUndefined();
    expect(open(sealed.subarray(0, random.below(sealed.length)), aead)).toBeUndefined();
  }
});

test("lengths are checked before the library is called", () => {
  const nonce = new Uint8Array(12);
  expect(() => chacha20Poly1305Seal(sunscreen, { key: key.subarray(1), nonce })).toThrow("32 bytes, not 31");
  expect(() => chacha20Poly1305Seal(sunscreen, { key, nonce: nonce.subarray(1) })).toThrow(
    "12 bytes, not 11",
  );
  expect(() => chacha20Poly1305Open(new Uint8Array(20), { key, nonce: new Uint8Array(24) })).toThrow(
    "12 bytes",
  );
  expect(() => xchacha20Poly1305Seal(sunscreen, { key, nonce })).toThrow("24 bytes, not 12");
  expect(() => chacha20Poly1305Seal(new Uint8Array((1 << 20) + 1), { key, nonce })).toThrow("more than");
});
