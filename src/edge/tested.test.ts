import { expect, test } from "bun:test";
import { missingTests } from "../../test/support/named-tests.ts";

test("every test that docs/edge-tests.md names is there", () => {
  expect(missingTests("docs/edge-tests.md")).toEqual([]);
});
