import { expect, test } from "bun:test";
import { PrivateKey, SigningSecret } from "../net/mod.ts";
import { openHubSecret, sealHubSecret } from "./hub-secret.ts";

test("what makes a hub opens with the newcomer's key alone, and not when a byte of it changed", () => {
  const [hub, newcomer, other] = [PrivateKey.random(), PrivateKey.random(), PrivateKey.random()];
  const secret = { signing: SigningSecret.random(), prefix: "/causeway/0", etcd: ["https://10.0.0.1:2379"] };
  const text = sealHubSecret({ own: hub, peer: newcomer.publicKey }, secret);
  const opened = openHubSecret({ own: newcomer, peer: hub.publicKey }, text);
  expect([opened.signing.publicKey, opened.prefix, opened.etcd]).toEqual([
    secret.signing.publicKey,
    secret.prefix,
    secret.etcd,
  ]);
  expect(text).not.toContain(secret.signing.toFile().trim());
  expect(() => openHubSecret({ own: other, peer: hub.publicKey }, text)).toThrow("cannot be opened");
  const bytes = Buffer.from(text, "base64");
  for (let i = 0; i < bytes.length; i += 7) {
    const changed = Buffer.from(bytes);
    changed[i] = (changed[i] as number) ^ 1;
    expect(() => openHubSecret({ own: newcomer, peer: hub.publicKey }, changed.toString("base64"))).toThrow(
      "cannot be opened",
    );
  }
});
