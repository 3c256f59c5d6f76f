import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { CniError, CODES, formatError } from "./error.ts";

test("P4: an error object has version, code, message, and details where there are any", () => {
  const error = new CniError("badConfiguration", "Cannot use it", { details: "mtu is -1" });
  expect(JSON.parse(formatError(error, "0.4.0"))).toEqual({
    cniVersion: "0.4.0",
    code: 7,
    msg: "Cannot use it",
    details: "mtu is -1",
  });
  expect(JSON.parse(formatError(new CniError("tryAgain", "Wait"), undefined))).toEqual({
    cniVersion: "1.1.0",
    code: 11,
    msg: "Wait",
  });
});

test("every code stands in docs/cni.md with what to do, and no other", () => {
  const page = readFileSync(new URL("../../docs/cni.md", import.meta.url), "utf8");
  const section = page.slice(page.indexOf("\n## Errors"), page.indexOf("\n## While"));
  const told = [...section.matchAll(/^\| (\d+) \| .+ \| .+ \|$/gm)].map((match) => Number(match[1]));
  expect(told).toEqual(Object.values(CODES).sort((a, b) => a - b));
});
