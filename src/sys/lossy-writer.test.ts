import { afterAll, expect, test } from "bun:test";
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LossyWriter } from "./lossy-writer.ts";
import { runSync } from "./process.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-lossy-writer-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("lines are written whole, however long", () => {
  const path = join(folder, "log");
  const fd = openSync(path, "w");
  const writer = new LossyWriter(fd);
  const long = `${"x".repeat(10_000)}\n`;
  expect([writer.line("one\n"), writer.line(long), writer.line("two\n")]).toEqual([true, true, true]);
  closeSync(fd);
  expect(readFileSync(path, "utf8")).toBe(`one\n${long}two\n`);
});

test("a full disk loses lines, and nothing else", () => {
  const fd = openSync("/dev/full", "w");
  const writer = new LossyWriter(fd);
  expect([writer.line("one\n"), writer.line("two\n")]).toEqual([false, false]);
  closeSync(fd);
});

test("so does a descriptor that is closed", () => {
  const fd = openSync("/dev/null", "w");
  closeSync(fd);
  expect(new LossyWriter(fd).line("one\n")).toBe(false);
});

test.each([
  ["that does not wait", constants.O_NONBLOCK],
  ["that would wait", 0],
])("a pipe that nobody reads, %s: lines are lost, and none is cut once somebody reads", (_, flag) => {
  const path = join(folder, `pipe-${flag}`);
  expect(runSync(["mkfifo", path]).status).toBe(0);
  const fd = openSync(path, constants.O_RDWR | flag);
  const writer = new LossyWriter(fd);
  const line = (n: number) => `${n} ${"x".repeat(3000)}\n`;
  let said: number[] = [];
  let got = "";
  const buffer = Buffer.alloc(1 << 16);
  const read = () => (got += buffer.toString("utf8", 0, readSync(fd, buffer)));
  for (let n = 0; n < 100; n++) if (writer.line(line(n))) said.push(n);
  expect(said.length).toBeGreaterThan(10);
  expect(said.length).toBeLessThan(100);
  read();
  expect(writer.line("end\n")).toBe(true);
  while (!got.endsWith("end\n")) read();
  closeSync(fd);
  expect(got).toBe([...said.map(line), "end\n"].join(""));
});
