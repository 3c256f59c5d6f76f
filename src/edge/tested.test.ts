import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

const repository = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, repository), "utf8");

test("every test that docs/edge-tests.md names is there", () => {
  const cells = read("docs/edge-tests.md").matchAll(/`((?:src|test)\/\S+\.ts)`: ([^;|]+)/g);
  const missing = [...cells]
    .map(([, path = "", title = ""]) => ({ path, title: title.trim() }))
    .filter(({ path, title }) => !new RegExp(`["\`]${RegExp.escape(title)}`).test(read(path)));
  expect(missing).toEqual([]);
});
