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

test("a change of a scope adds, replaces and takes out, and leaves the rest alone", () => {
  const desired = new Desired();
  desired.set("a", [bridge("br0", 1400), bridge("br1")], 0);
  desired.set("b", [bridge("br1")], 0);
  desired.dirty.clear();
  desired.change("a", { put: [bridge("br0", 1500), bridge("br2")], drop: [bridge("br1")] }, 1);
  expect([...desired.dirty].sort()).toEqual(["link br0", "link br2"]);
  // The other scope still wants it.
  expect([...desired.unwanted.keys()]).toEqual([]);
  expect([...(desired.scopes.get("a") ?? [])].sort()).toEqual(["link br0", "link br2"]);
  desired.change("b", { drop: [bridge("br1"), bridge("br9")] }, 2);
  expect([...desired.unwanted.keys()]).toEqual(["link br1"]);
  // What is put stays, although it is dropped too.
  desired.change("a", { put: [bridge("br2", 1300)], drop: [bridge("br2")] }, 3);
  expect(desired.entries.get("link br2")?.object).toMatchObject({ mtuBytes: 1300 });
  expect(() => desired.change("b", { put: [bridge("br2")] }, 4)).toThrow("link br2 is contradictory");
});
