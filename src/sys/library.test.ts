import { afterEach, expect, test } from "bun:test";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { findLibrary } from "./library.ts";

const before = process.cwd();
let folder: string | undefined;

afterEach(() => {
  process.chdir(before);
  if (folder !== undefined) rmSync(folder, { recursive: true });
  folder = undefined;
});

/** The file of a library that this process has. */
const sound = () => /\/\S*\/libc\.so\.6$/m.exec(readFileSync("/proc/self/maps", "utf8"))?.[0] as string;

test("the system's libraries are found, and paths are taken as they are", () => {
  expect(() => findLibrary("libc.so.6")).not.toThrow();
  expect(() => findLibrary(sound())).not.toThrow();
});

test("what lies in the working directory is none of them", () => {
  folder = mkdtempSync(`${tmpdir()}/causeway-library-`);
  copyFileSync(sound(), `${folder}/libcauseway-nowhere.so.1`);
  process.chdir(folder);
  expect(() => findLibrary("libcauseway-nowhere.so.1")).toThrow(
    "libcauseway-nowhere.so.1: cannot open shared object file",
  );
});
