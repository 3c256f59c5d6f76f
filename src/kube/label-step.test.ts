import { expect, test } from "bun:test";
import { parseIp } from "../net/mod.ts";
import { labelStep, labelSteps } from "./label-step.ts";
import { meshNodesByAddress } from "./node-ranges.ts";

test("what selections look at becomes as the Node has it, and nothing else", () => {
  const keys = new Set(["rack", "gpu"]);
  expect(labelStep({ rack: "a", zone: "z" }, { keys })).toEqual({ rack: "a", gpu: null });
  expect(labelStep({ rack: "a", zone: "z" }, { before: { rack: "a", by: "hand" }, keys })).toBeUndefined();
  expect(labelStep({}, { before: { rack: "a", by: "hand" }, keys })).toEqual({ rack: null, gpu: null });
  expect(labelStep({ rack: "a" }, { before: {}, keys: new Set() })).toBeUndefined();
});

test("a key that every object of the language has is a label only where there is one", () => {
  const keys = new Set(["constructor"]);
  expect(labelStep({}, { keys })).toBeUndefined();
  expect(labelStep({ constructor: "x" } as never, { keys })).toEqual({ constructor: "x" } as never);
});

test("a Node labels the node whose overlay address it has, unless another one says that it is that, too", () => {
  const mesh = (name: string, n: number) => ({
    ...{ name, hub: false, overlay4: parseIp(`10.250.0.${n}`), overlay6: parseIp(`fd00::${n}`) },
  });
  const members = meshNodesByAddress([mesh("m1", 1), mesh("m2", 2), mesh("m3", 3)]);
  const node = (name: string, rack: string, ...addresses: string[]) => ({
    ...{ name, uid: name, addresses: addresses.map(parseIp), ranges: [], labels: { rack } },
  });
  const nodes = [
    node("one", "a", "10.250.0.1", "fd00::1"),
    node("two", "b", "10.250.0.2"),
    node("thief", "c", "192.0.2.7", "fd00::2"),
    node("other", "d", "192.0.2.8"),
  ];
  const { changes, disputed } = labelSteps(nodes, { members, keys: new Set(["rack"]) });
  expect([...changes]).toEqual([["m1", { rack: "a" }]]);
  expect(disputed).toEqual([
    "Nodes thief and two have an overlay address of node m2 as their InternalIP, whose labels stay as they are; delete those that are not that machine",
  ]);
  expect(labelSteps(nodes, { members, keys: new Set() }).disputed).toEqual([]);
});
