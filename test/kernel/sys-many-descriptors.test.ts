/** An agent with hundreds of namespaces has thousands of descriptors; libnftables cannot use one from 1024 on. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { notRoot } from "../support/scratch.ts";

const program = fileURLToPath(new URL("../support/many-descriptors.ts", import.meta.url));
const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

describe.skipIf(notRoot !== undefined)(`many descriptors${suffix}`, () => {
  test("contexts of libnftables work among two thousand others", () => {
    const script = 'ulimit -n 4096 && exec unshare --net "$@"';
    const done = Bun.spawnSync(["sh", "-c", script, "sh", process.execPath, program]);
    expect([done.exitCode, done.stdout.toString(), done.stderr.toString()]).toEqual([0, "alive\n", ""]);
  });

  test("a domain that cannot be made for lack of descriptors leaves none, and no namespace", () => {
    const folder = mkdtempSync(`${tmpdir()}/causeway-few-`);
    const few = fileURLToPath(new URL("../support/few-descriptors.ts", import.meta.url));
    const script = 'ulimit -n 128 && exec unshare --net "$@"';
    const done = Bun.spawnSync(["sh", "-c", script, "sh", process.execPath, few, folder]);
    rmSync(folder, { recursive: true });
    expect(done.stderr.toString()).toBe("");
    expect(JSON.parse(done.stdout.toString())).toEqual({ isMade: true, wasRefused: true, left: [] });
  });
});
