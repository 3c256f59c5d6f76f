import { expect, test } from "bun:test";
import { annotationsOf, parseMetadata } from "./metadata.ts";

const [vpc, subnet, groups] = ["vpc", "subnet", "groups"].map((name) => `causeway.network/${name}`) as [
  string,
  string,
  string,
];

test("a pod has what its namespace has, and its own first", () => {
  expect(annotationsOf({ [groups]: "web" }, { [vpc]: "blue", [groups]: "all" })).toEqual({
    [vpc]: "blue",
    [groups]: "web",
  });
});

test("a subnet belongs to the VPC beside it", () => {
  expect(annotationsOf({ [vpc]: "red" }, { [vpc]: "blue", [subnet]: "a" })).toEqual({ [vpc]: "red" });
  expect(annotationsOf({ [subnet]: "b" }, { [vpc]: "blue", [subnet]: "a" })).toEqual({
    [vpc]: "blue",
    [subnet]: "b",
  });
});

test("no pod leaves the VPC of its namespace by an empty annotation", () => {
  expect(annotationsOf({ [vpc]: "" }, { [vpc]: "blue" })).toEqual({ [vpc]: "blue" });
});

test("annotations of others are not kept, and what is no text is nothing", () => {
  const metadata = { name: "a", annotations: { "other/x": "y", [vpc]: "blue", [groups]: 7 }, labels: null };
  expect(parseMetadata({ metadata })).toEqual({
    ...{ name: "a", uids: [], resourceVersion: "", labels: {}, annotations: { [vpc]: "blue" } },
  });
  for (const nothing of [undefined, null, 1, "x", [], {}, { metadata: {} }, { metadata: { name: 1 } }])
    expect(parseMetadata(nothing)).toBeUndefined();
});
