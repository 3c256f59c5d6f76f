import { expect, test } from "bun:test";
import { PrivateKey } from "../net/mod.ts";
import { parseFormer } from "./former-key.ts";

test("a hub's former key is read as it was written; of a damaged file nothing is repeated", () => {
  const key = PrivateKey.random();
  const text = JSON.stringify({ key: key.toFile().trim(), untilMs: 5, tokens: ["a"] });
  const { key: read, ...rest } = parseFormer(text);
  expect([read.publicKey, rest]).toEqual([key.publicKey, { untilMs: 5, tokens: ["a"] }]);
  for (const damaged of ["", text.slice(1), text.slice(0, 30), text.replace("5", '"x"'), `{"key":"abc"}`]) {
    expect(() => parseFormer(damaged)).toThrow("node.key.former: it is damaged; put it back");
    try {
      parseFormer(damaged);
    } catch (error) {
      expect(Bun.inspect(error)).not.toContain(key.toFile().slice(0, 12));
    }
  }
});
