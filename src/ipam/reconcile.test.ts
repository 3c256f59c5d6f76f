import { expect, test } from "bun:test";
import { parsePrefix } from "../net/mod.ts";
import { reconcile } from "./reconcile.ts";

const grant = (number: number, block = `10.1.0.${16 * number}/28`, usable = 0xffff) => ({
  number,
  subnet: "web",
  block: parsePrefix(block),
  usable,
});
const held = (number: number, more: { returning?: boolean; usable?: number; block?: string } = {}) => ({
  ...grant(number, more.block, more.usable),
  used: 0,
  returning: more.returning ?? false,
});
const numbers = ({ drop, put }: ReturnType<typeof reconcile>) => [drop, put.map(({ number }) => number)];

test("what the register says and the node does not know is held; what it does not say is gone", () => {
  expect(numbers(reconcile([held(1), held(2), held(3, { returning: true })], [grant(2), grant(4)]))).toEqual([
    [1, 3],
    [4],
  ]);
});

test("what is being returned stays so until the register has it back", () => {
  expect(numbers(reconcile([held(1, { returning: true, usable: 3 })], [grant(1)]))).toEqual([[], []]);
});

test("what the register lets the node hand out no more, it does not; what it stopped handing out stays so", () => {
  expect(numbers(reconcile([held(1)], [grant(1, undefined, 0x7fff)]))).toEqual([[], [1]]);
  expect(numbers(reconcile([held(1, { usable: 0x7fff })], [grant(1)]))).toEqual([[], []]);
});

test("a number that means another block, in an older copy of the register, is that block", () => {
  expect(numbers(reconcile([held(1, { block: "10.9.0.0/28" })], [grant(1)]))).toEqual([[], [1]]);
});
