import { createCipheriv } from "node:crypto";
import { expect, test } from "bun:test";
import { aes256GcmOpen, aes256GcmSeal, aesGcmOpen, aesGcmSeal } from "./aes-gcm.ts";

const key = new Uint8Array(32).fill(7);
const plain = new TextEncoder().encode("thirty-two bytes of a secret key");

test("comes back with the same key and associated data only", () => {
  const sealed = aesGcmSeal(key, plain, "a b 1");
  expect(aesGcmOpen(key, sealed, "a b 1")).toEqual(new Uint8Array(plain));
  expect(aesGcmOpen(key, sealed, "a b 2")).toBeUndefined();
  expect(aesGcmOpen(new Uint8Array(32), sealed, "a b 1")).toBeUndefined();
  for (let i = 0; i < sealed.length; i++) {
    const bad = sealed.slice();
    bad[i] = (bad[i] as number) ^ 1;
    expect(aesGcmOpen(key, bad, "a b 1")).toBeUndefined();
  }
  expect(aesGcmOpen(key, sealed.subarray(0, 20), "a b 1")).toBeUndefined();
});

test("the same text is never sealed to the same bytes", () => {
  const texts = Array.from({ length: 50 }, () => Buffer.from(aesGcmSeal(key, plain, "")).toString("hex"));
  expect(new Set(texts).size).toBe(50);
});

// McGrew and Viega, The Galois/Counter Mode of Operation, test case 14: one block of zeros under a key of zeros.
test("known answer", () => {
  const cipher = createCipheriv("aes-256-gcm", new Uint8Array(32), new Uint8Array(12));
  const text = Buffer.concat([cipher.update(new Uint8Array(16)), cipher.final(), cipher.getAuthTag()]);
  expect(text.toString("hex")).toBe("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
  const sealed = Buffer.concat([new Uint8Array(12), text]);
  expect(aesGcmOpen(new Uint8Array(32), sealed, "")).toEqual(new Uint8Array(16));
});

// The same document, test case 16: with additional data.
test("known answer with a nonce of the caller's", () => {
  const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
  const aead = {
    key: unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"),
    nonce: unhex("cafebabefacedbaddecaf888"),
    additional: unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
  };
  const text = unhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
  );
  const sealed = aes256GcmSeal(text, aead);
  expect(Buffer.from(sealed).toString("hex")).toBe(
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
  );
  expect(aes256GcmOpen(sealed, aead)).toEqual(text);
  expect(aes256GcmOpen(sealed, { ...aead, additional: new Uint8Array(20) })).toBeUndefined();
  expect(aes256GcmOpen(sealed.subarray(0, 15), aead)).toBeUndefined();
});
