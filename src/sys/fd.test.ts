import { expect, test } from "bun:test";
import { openSync } from "node:fs";
import { Fd, libc, openDescriptions, readText, removeTree, SystemError, writeAtomic } from "./mod.ts";

test("a descriptor is closed once, counted while open, and shows what it was made for", () => {
  const before = openDescriptions().length;
  const fd = new Fd(openSync("/dev/null", "r"), "a test");
  expect(openDescriptions()).toContain("a test");
  fd.close();
  fd.close();
  expect(openDescriptions().length).toBe(before);
  expect(() => fd.number).toThrow("closed");
});

test("a call with something that is no descriptor never reaches the system", () => {
  for (const wrong of [undefined, -1, 1.5, Number.NaN])
    expect(() => libc.close(wrong as number)).toThrow(TypeError);
});

test("a failing call names itself and its error number", () => {
  try {
    libc.setns(0, 0x40000000);
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(SystemError);
    expect((error as SystemError).call).toBe("setns");
    expect((error as SystemError).code).toMatch(/^E[A-Z]+$/);
  }
});

test("an atomic write replaces, keeps the mode, and leaves no second file", () => {
  const path = `/tmp/causeway-file-test-${process.pid}/a/b`;
  try {
    writeAtomic(path, "one", 0o600);
    writeAtomic(path, "two", 0o600);
    expect(readText(path)).toBe("two");
    expect(readText(`${path}.new`)).toBeUndefined();
    expect(readText(`${path}/not/there`)).toBeUndefined();
  } finally {
    removeTree(path.replace("/a/b", ""));
  }
});
