import { expect, test } from "bun:test";
import { labelStep } from "./label-step.ts";

test("what selections look at becomes as the Node has it, and nothing else", () => {
  const keys = new Set(["rack", "gpu"]);
  expect(labelStep({ rack: "a", zone: "z" }, { keys })).toEqual({ rack: "a", gpu: null });
  expect(labelStep({ rack: "a", zone: "z" }, { before: { rack: "a", by: "hand" }, keys })).toBeUndefined();
  expect(labelStep({}, { before: { rack: "a", by: "hand" }, keys })).toEqual({ rack: null, gpu: null });
  expect(labelStep({ rack: "a" }, { before: {}, keys: new Set() })).toBeUndefined();
});
