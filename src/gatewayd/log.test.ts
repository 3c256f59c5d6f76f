import { expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLog } from "./log.ts";

test("a line is one JSON object", () => {
  const folder = mkdtempSync(join(tmpdir(), "causeway-gateway-log-"));
  try {
    const fd = openSync(join(folder, "log"), "w");
    openLog("paris", fd)("queue is up", { queue: 2, by: "memory" });
    closeSync(fd);
    expect(JSON.parse(readFileSync(join(folder, "log"), "utf8"))).toMatchObject({
      event: "queue is up",
      gateway: "paris",
      queue: 2,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a full disk stops nobody", () => {
  const fd = openSync("/dev/full", "w");
  const log = openLog("paris", fd);
  for (let n = 0; n < 1000; n++) log("queue is up", { queue: n });
  closeSync(fd);
});
