import { expect, test } from "bun:test";
import { parseLinks } from "./hub-relaying.ts";

test("names of interfaces are read, each once", () => {
  expect(parseLinks("eth0")).toEqual(["eth0"]);
  expect(parseLinks("eth0,bond0.7,eth0,enp3s0f1")).toEqual(["eth0", "bond0.7", "enp3s0f1"]);
});

test("what is no name of an interface is refused with how to write them", () => {
  for (const text of ["", "eth0,", "eth0, eth1", "a/b", "eth0:1", "sixteen-letters-", ".", ".."])
    expect(() => parseLinks(text)).toThrow(
      /is not a name of an interface; write them like eth0 or eth0,eth1$/,
    );
});
