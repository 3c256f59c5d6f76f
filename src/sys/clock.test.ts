import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { boottimeMs } from "./mod.ts";

test("the boot clock is the kernel's uptime, and never goes back", () => {
  const uptimeMs = () => Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000;
  const before = uptimeMs();
  const now = boottimeMs();
  const after = uptimeMs();
  // /proc/uptime has hundredths of seconds.
  expect(now).toBeGreaterThanOrEqual(before - 10);
  expect(now).toBeLessThanOrEqual(after + 10);
  for (let i = 0, last = now; i < 1000; i++) {
    const next = boottimeMs();
    expect(next).toBeGreaterThanOrEqual(last);
    last = next;
  }
});
