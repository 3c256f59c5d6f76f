import { afterAll, expect, test } from "bun:test";
import { existsSync, linkSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileLock } from "./file-lock.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-file-lock-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function taken(path: string, holder: string): FileLock {
  const lock = FileLock.take(path, holder);
  if (typeof lock === "string") throw new Error(`${lock} has it`);
  return lock;
}

test("one has it, others are told who, and it goes with its file", () => {
  const path = join(folder, "one");
  {
    using _ = taken(path, "gateway paris, process 5");
    expect(FileLock.take(path, "gateway tokyo")).toBe("gateway paris, process 5");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    // Another name of it is the same lock.
    linkSync(path, join(folder, "other"));
    expect(FileLock.take(join(folder, "other"), "gateway tokyo")).toBe("gateway paris, process 5");
  }
  expect(existsSync(path)).toBe(false);
  using _ = taken(path, "x");
  expect(FileLock.take(path, "y")).toBe("x");
});

test("a process that is killed gives it back", async () => {
  const path = join(folder, "killed");
  const module = new URL("./file-lock.ts", import.meta.url).href;
  const program = `const { FileLock } = await import(${JSON.stringify(module)});
    globalThis.lock = FileLock.take(${JSON.stringify(path)}, "the child");
    console.log("taken");
    setInterval(() => {}, 1000);`;
  const child = Bun.spawn([process.execPath, "-e", program], { stdout: "pipe", stderr: "inherit" });
  try {
    const { value } = await child.stdout.getReader().read();
    expect(Buffer.from(value ?? []).toString()).toBe("taken\n");
    expect(FileLock.take(path, "we")).toBe("the child");
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
  using _ = taken(path, "we");
  expect(FileLock.take(path, "they")).toBe("we");
});
