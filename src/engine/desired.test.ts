import { expect, test } from "bun:test";
import { Desired } from "./desired.ts";
import type { KernelObject } from "./object.ts";

const bridge = (name: string, mtuBytes?: number): KernelObject => ({
  kind: "link",
  name,
  type: "bridge",
  ...(mtuBytes !== undefined && { mtuBytes }),
});

test("an unchanged scope leaves nothing to do", () => {
  const desired = new Desired();
  desired.set("a", [bridge("br0", 1400)], 0);
  expect([...desired.dirty]).toEqual(["link br0"]);
  desired.dirty.clear();
  desired.set("a", [bridge("br0", 1400)], 1);
  expect(desired.dirty.size).toBe(0);
  desired.set("a", [bridge("br0", 1500)], 2);
  expect([...desired.dirty]).toEqual(["link br0"]);
});

test("equal objects are shared, and go with the last scope", () => {
  const desired = new Desired();
  desired.set("a", [bridge("br0")], 0);
  desired.set("b", [bridge("br0")], 0);
  desired.remove("a");
  expect([...desired.unwanted.keys()]).toEqual([]);
  desired.remove("b");
  expect([...desired.unwanted.keys()]).toEqual(["link br0"]);
  desired.set("c", [bridge("br0")], 0);
  expect(desired.unwanted.size).toBe(0);
});

test("contradiction is refused and changes nothing", () => {
  const desired = new Desired();
  desired.set("a", [bridge("br0", 1400)], 0);
  expect(() => desired.set("b", [bridge("br1"), bridge("br0", 1500)], 0)).toThrow(
    "Cannot set scope b: link br0 is contradictory, b wants it and a too",
  );
  expect([...desired.entries.keys()]).toEqual(["link br0"]);
  expect(() => desired.set("c", [bridge("br2"), bridge("br2", 1500)], 0)).toThrow("wants it twice");
});

test("what needs an object is found from it", () => {
  const desired = new Desired();
  const port: KernelObject = { kind: "link", name: "p0", type: "dummy", master: "br0" };
  desired.set("a", [port], 0);
  expect([...desired.dependants("link br0")]).toEqual(["link p0"]);
  desired.remove("a");
  expect([...desired.dependants("link br0")]).toEqual([]);
});
