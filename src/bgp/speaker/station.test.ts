import { expect, test } from "bun:test";
import { newStation } from "./station.ts";

test("an address begins with the sequence that it had last, as far as a route can bear it", () => {
  const sequences = [undefined, 0, 7, 2 ** 32].map((known) => newStation(known).mobility?.sequence);
  expect(sequences).toEqual([undefined, 0, 7, 0xffff_ffff]);
});
