/** Tests that a page of the documentation names, as `path`: beginning of the title. */
import { readFileSync } from "node:fs";

const repository = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, repository), "utf8");

/** missingTests returns those that are not there. */
export function missingTests(page: string): { readonly path: string; readonly title: string }[] {
  const named = [...read(page).matchAll(/`((?:src|test)\/\S+\.ts)`: ([^;|]+)/g)];
  if (named.length === 0) throw new Error(`${page} names no test`);
  return named
    .map(([, path = "", title = ""]) => ({ path, title: title.trim() }))
    .filter(({ path, title }) => !new RegExp(`["\`]${RegExp.escape(title)}`).test(read(path)));
}
