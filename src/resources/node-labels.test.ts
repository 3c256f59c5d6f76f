import { expect, test } from "bun:test";
import { nodeLabelsSchema, parseLabelChange, withLabels } from "./node-labels.ts";

test("words change labels as kubectl's do", () => {
  expect(parseLabelChange(["rack=a", "example.com/zone=", "gpu-", "a-b-"])).toEqual({
    ...{ rack: "a", "example.com/zone": "", gpu: null },
    "a-b": null,
  });
  for (const word of ["rack", "=a", "-", "rack=a b", "-x=1", `x=${"a".repeat(64)}`, "a/b/c=d"])
    expect(() => parseLabelChange([word])).toThrow(`"${word}" is no change of a label`);
  expect(() => parseLabelChange(["rack=a", "rack-"])).toThrow('"rack-" is the second word about label rack');
});

test("a change leaves what it does not name, and order says nothing", () => {
  const after = withLabels({ rack: "a", gpu: "" }, { zone: "1", gpu: null, none: null });
  expect(JSON.stringify(after)).toBe('{"rack":"a","zone":"1"}');
});

test("what is no label is refused", () => {
  expect(nodeLabelsSchema.safeParse({ rack: "a" }).success).toBe(true);
  expect(nodeLabelsSchema.safeParse({ "rack ": "a" }).success).toBe(false);
  expect(nodeLabelsSchema.safeParse({ rack: "a/b" }).success).toBe(false);
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ""]));
  expect(nodeLabelsSchema.safeParse(many).success).toBe(false);
});
