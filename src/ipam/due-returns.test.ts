import { expect, test } from "bun:test";
import { dueReturns, EMPTY_MS, type HeldBlock, LAST_MS, ROOMY, SINGLE_REST_MS } from "./due-returns.ts";

const block = (number: number, more: Partial<HeldBlock> = {}): HeldBlock => ({
  number,
  pool: "web 4",
  single: false,
  free: 16,
  useless: false,
  ...more,
});
const empty = { emptySinceMs: 0 };
const full = block(9, { free: ROOMY - 1 });
const due = (nowMs: number, ...blocks: HeldBlock[]) => dueReturns(blocks, nowMs);

test("one spare stays while the others have little room, the one that became empty last", () => {
  expect(due(EMPTY_MS - 1, full, block(1, empty), block(2, empty))).toEqual([]);
  expect(due(EMPTY_MS + 1, full, block(1, empty), block(2, { emptySinceMs: 1 }))).toEqual([1]);
  expect(due(1e9, full, block(2, empty))).toEqual([]);
});

test("no spare stays where the others have room, or other subnets have none", () => {
  expect(due(EMPTY_MS, block(9, { free: ROOMY }), block(1, empty))).toEqual([1]);
  expect(due(LAST_MS, block(9, { pool: "db 4", free: 0 }), block(1, empty))).toEqual([1]);
});

test("the last block of a subnet stays for a while", () => {
  expect([due(LAST_MS - 1, block(1, empty)), due(LAST_MS, block(1, empty))]).toEqual([[], [1]]);
});

test("a single address goes soon, as does what cannot be used any more, and neither is the spare", () => {
  const blocks = [
    full,
    block(1, { ...empty, single: true }),
    block(2, { ...empty, useless: true }),
    block(3, empty),
  ];
  expect([due(SINGLE_REST_MS - 1, ...blocks), due(SINGLE_REST_MS, ...blocks)]).toEqual([[], [1, 2]]);
  expect(due(1e9, ...blocks)).toEqual([1, 2]);
});

test("what is leased stays", () => {
  expect(
    due(1e9, block(1), block(2, { single: true, free: 0 }), block(3, { useless: true, free: 0 })),
  ).toEqual([]);
});
