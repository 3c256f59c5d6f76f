import { expect, test } from "bun:test";
import { inspect } from "node:util";
import { parsePublicKey, PrivateKey, publicKeyBytes, Secret, SigningSecret } from "./mod.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

test("RFC 7748 section 6.1: public keys and the shared secret", () => {
  const alice = new PrivateKey(hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
  const bob = new PrivateKey(hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
  expect(publicKeyBytes(bob.publicKey)).toEqual(
    hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"),
  );
  expect(publicKeyBytes(alice.publicKey)).toEqual(
    hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"),
  );
  const shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
  expect(alice.agree(bob.publicKey)).toEqual(shared);
  expect(bob.agree(alice.publicKey)).toEqual(shared);
});

test("RFC 8032 section 7.1, test 1: Ed25519", () => {
  const key = new SigningSecret(hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
  expect(publicKeyBytes(key.publicKey)).toEqual(
    hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
  );
  expect(Buffer.from(key.sign(new Uint8Array(0))).toString("hex")).toBe(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  );
});

test("a secret cannot be printed by accident", () => {
  for (const secret of [Secret.random(), PrivateKey.random(), SigningSecret.random()]) {
    const text = Buffer.from(secret.reveal()).toString("base64");
    for (const shown of [
      `${secret}`,
      JSON.stringify({ secret }),
      inspect(secret),
      Bun.inspect({ secret }),
      String(Object.values(secret)),
    ])
      expect(shown).not.toContain(text.slice(0, 12));
    expect(JSON.stringify(secret)).toBe('"(hidden)"');
  }
});

test("an error about a secret does not repeat it", () => {
  try {
    Secret.fromBase64("c2VjcmV0LXdpdGgtd3JvbmctbGVuZ3Ro");
    expect.unreachable();
  } catch (error) {
    expect(String(error)).not.toContain("c2Vj");
  }
});

test("public keys are 44 characters of canonical base64", () => {
  const key = PrivateKey.random().publicKey;
  expect(parsePublicKey(key)).toBe(key);
  for (const text of ["", key.slice(1), `${key}=`, `${key.slice(0, 43)}A`])
    expect(() => parsePublicKey(text)).toThrow("44 characters");
});

test("private keys are clamped", () => {
  const bytes = new PrivateKey(new Uint8Array(32).fill(255)).reveal();
  expect([bytes[0], bytes[31]]).toEqual([248, 127]);
});
