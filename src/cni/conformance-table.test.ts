/** Every demand on the plugin has a test against the real plugin and agent: the titles of those tests say which. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { demands } from "../../test/support/cni-demands.ts";

const folder = new URL("../../test/kernel/", import.meta.url).pathname;

/** titlesOf returns the titles of a file's tests, as written. */
function titlesOf(source: string): string[] {
  return [...source.matchAll(/\btest(?:\.\w+\([^)]*\))?\(\s*(["`])(.*?)\1/gs)].map(
    (match) => match[2] as string,
  );
}

/** idsOf returns what stands before a title's colon. */
function idsOf(title: string): string[] {
  const [head, ...rest] = title.split(": ");
  return rest.length === 0 ? [] : (head as string).split(", ");
}

const titles = readdirSync(folder)
  .filter((name) => /^cni-.*\.test\.ts$/.test(name))
  .flatMap((name) => titlesOf(readFileSync(folder + name, "utf8")));

test("each demand stands at the beginning of a test's title", () => {
  const shown = new Set(titles.flatMap(idsOf));
  const missing = Object.entries(demands).filter(([id]) => !shown.has(id));
  expect(missing.map(([id, meaning]) => `${id}: ${meaning}`)).toEqual([]);
});

test("no title begins with an id that is not in the list", () => {
  const id = /^(?:[A-Z]\d+|\d+(?:\.\d+)*|code \d+\+?)$/;
  const unknown = titles.flatMap(idsOf).filter((head) => id.test(head) && !Object.hasOwn(demands, head));
  expect(unknown).toEqual([]);
});

test("titles are read as they are written", () => {
  const source = 'test("A1, K3: x", f); test.skipIf(y)(`P2: ${z}`, g);\n  test(\n    "plain: is no id",\n';
  expect(titlesOf(source).map(idsOf)).toEqual([["A1", "K3"], ["P2"], ["plain"]]);
  expect(titles.length).toBeGreaterThan(50);
});
