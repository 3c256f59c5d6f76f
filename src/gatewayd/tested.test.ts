import { expect, test } from "bun:test";
import { missingTests } from "../../test/support/named-tests.ts";

test("every test that docs/gateway-tests.md names is there", () => {
  expect(missingTests("docs/gateway-tests.md")).toEqual([]);
});
