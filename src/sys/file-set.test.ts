import { afterEach, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { replaceFiles } from "./file-set.ts";

const base = mkdtempSync(join(tmpdir(), "causeway-file-set-"));
const folder = join(base, "deep", "set");
afterEach(() => rmSync(base, { recursive: true, force: true }));
const mode = (path: string) => statSync(path).mode & 0o777;
const all = () => (readdirSync(folder, { recursive: true, encoding: "utf8" }) as string[]).sort();

test("a new folder, then a change of it: 0700 and 0600, what is not named stays", () => {
  replaceFiles(folder, {
    write: [
      { path: "a/x", content: "1" },
      { path: "top", content: "2" },
    ],
    remove: [],
  });
  expect(all()).toEqual(["a", "a/x", "top"]);
  expect([folder, join(folder, "a"), join(folder, "a/x"), join(folder, "top")].map(mode)).toEqual([
    0o700, 0o700, 0o600, 0o600,
  ]);
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, "a/theirs"), "");
  replaceFiles(folder, {
    write: [
      { path: "b/y", content: "3" },
      { path: "top", content: "4" },
    ],
    remove: ["a/x", "gone/z"],
  });
  expect(all()).toEqual(["a", "a/theirs", "b", "b/y", "top"]);
  expect(readFileSync(join(folder, "top"), "utf8")).toBe("4");
  expect(mode(folder)).toBe(0o700);
  replaceFiles(folder, { write: [], remove: ["b/y"] });
  expect(all()).toEqual(["a", "a/theirs", "top"]);
});

test("what cannot be written leaves all as it was, and nothing beside it", () => {
  const twice = [
    { path: "x", content: "1" },
    { path: "x/y", content: "2" },
  ];
  expect(() => replaceFiles(folder, { write: twice, remove: [] })).toThrow();
  expect(readdirSync(join(base, "deep"))).toEqual([]);
  replaceFiles(folder, { write: [{ path: "x", content: "old" }], remove: [] });
  expect(() =>
    replaceFiles(folder, { write: [{ path: "x", content: "new" }, ...twice], remove: ["x"] }),
  ).toThrow();
  expect(all()).toEqual(["x"]);
  expect(readFileSync(join(folder, "x"), "utf8")).toBe("old");
});

test("two runs at once: the second is refused and disturbs nothing", () => {
  replaceFiles(folder, { write: [{ path: "x", content: "old" }], remove: [] });
  mkdirSync(join(folder, ".new"));
  expect(() => replaceFiles(folder, { write: [{ path: "x", content: "new" }], remove: [] })).toThrow(
    "another run writes there; if none does, remove",
  );
  expect(existsSync(join(folder, ".new"))).toBe(true);
  expect(readFileSync(join(folder, "x"), "utf8")).toBe("old");
});
