import { expect, test } from "bun:test";
import { Random } from "../../../test/support/random.ts";
import { newSeed } from "../../../test/support/random.ts";
import { macKeys, writeMacs } from "../wireguard/mac.ts";
import { systemPrimitives as primitives } from "../wireguard/mod.ts";
import { Tags } from "./tags.ts";

const seed = newSeed();

/** An initiation for the holder of a public key, and keys of that many nodes. */
function nodes(random: Random, count: number) {
  const keys = Array.from({ length: count }, () => macKeys(primitives, random.bytes(32)));
  const initiation = (to: number) => {
    const bytes = random.bytes(148);
    writeMacs(bytes, { primitives, receiver: keys[to] as (typeof keys)[number] });
    return bytes;
  };
  return { keys, initiation };
}

test(`each node is found by its mac1, in any part of the table, and nobody else (seed ${seed})`, () => {
  const random = new Random(seed);
  const { keys, initiation } = nodes(random, 41);
  const tags = new Tags(64);
  for (const [i, { mac1 }] of keys.entries()) expect(tags.add(mac1)).toBe(i);
  for (let to = 0; to < keys.length; to++) {
    tags.load(initiation(to));
    expect(tags.find(0, tags.size)).toBe(to);
    expect(tags.find(to, to + 1)).toBe(to);
    expect(tags.find(0, to)).toBeUndefined();
    expect(tags.find(to + 1, tags.size)).toBeUndefined();
    for (let slot = 0; slot < keys.length; slot++) expect(tags.matches(slot)).toBe(slot === to);
  }
});

test("a slot that was given back is found no more, and used again; a full table refuses", () => {
  const random = new Random(1);
  const { keys, initiation } = nodes(random, 5);
  const tags = new Tags(4);
  for (let i = 0; i < 4; i++) tags.add(keys[i]?.mac1 as Uint8Array);
  expect(tags.add(keys[4]?.mac1 as Uint8Array)).toBeUndefined();
  tags.remove(2);
  tags.load(initiation(2));
  expect(tags.find(0, tags.size)).toBeUndefined();
  expect(tags.add(keys[4]?.mac1 as Uint8Array)).toBe(2);
  tags.load(initiation(4));
  expect(tags.find(0, tags.size)).toBe(2);
});

test("a byte that is changed is no match", () => {
  const random = new Random(2);
  const { keys, initiation } = nodes(random, 1);
  const tags = new Tags(4);
  tags.add(keys[0]?.mac1 as Uint8Array);
  const bytes = initiation(0);
  for (let at = 0; at < 120; at++) {
    const changed = new Uint8Array(bytes);
    changed[at] = (changed[at] as number) ^ 1;
    tags.load(changed);
    expect(tags.find(0, 1)).toBeUndefined();
  }
});
