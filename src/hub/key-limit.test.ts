import { expect, test } from "bun:test";
import { PrivateKey } from "../net/mod.ts";
import { KeyLimit } from "./key-limit.ts";

const key = () => PrivateKey.random().publicKey;

test("a node announces a few keys an hour, each as often as it likes", () => {
  const limit = new KeyLimit();
  const first = key();
  for (let i = 0; i < 100; i++) expect(limit.allows("a", first, i)).toBe(true);
  const said = Array.from({ length: 50 }, (_, i) => limit.allows("a", key(), 1000 + i));
  expect(said.filter(Boolean).length).toBe(7);
  expect(limit.allows("b", key(), 1050)).toBe(true);
  expect(limit.allows("a", key(), 3_700_000)).toBe(true);
});
