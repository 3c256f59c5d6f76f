import { expect, test } from "bun:test";
import type { PublicKey } from "../../net/mod.ts";
import { Changes, MOST_GONE } from "./changes.ts";

const key = (i: number) => `key${i}` as PublicKey;

test("what changed after a mark is told to each reader, and what did not is not", () => {
  const changes = new Changes(100);
  const { mark: first } = changes.since(0);
  changes.touch(1);
  changes.touchAllowed(2);
  const { mark: second, news } = changes.since(first);
  expect(news).toEqual({ peers: [1, 2], allowed: new Set([2]), gone: [] });
  changes.left(2, key(2));
  expect(changes.since(second).news).toEqual({ peers: [], allowed: new Set(), gone: [key(2)] });
  // The slower reader hears it all.
  expect(changes.since(first).news).toEqual({ peers: [1], allowed: new Set(), gone: [key(2)] });
  changes.came(key(2));
  expect(changes.since(second).news?.gone).toEqual([]);
});

test("of those that left, so many are remembered; a reader that is further behind is told everything", () => {
  const changes = new Changes(100);
  const { mark: early } = changes.since(0);
  changes.left(0, key(0));
  const { mark: later } = changes.since(early);
  for (let i = 1; i <= MOST_GONE; i++) changes.left(i, key(i));
  expect(changes.since(early).news).toBeUndefined();
  expect(changes.since(later).news?.gone).toHaveLength(MOST_GONE);
});

test("marks of another process, and none at all, are told everything", () => {
  const changes = new Changes(100);
  const { mark } = changes.since(0);
  for (const wrong of [0, 100, mark + 1_000, Number.NaN, 0.5])
    expect(changes.since(wrong).news).toBeUndefined();
  expect(changes.since(mark).news).toBeDefined();
});
