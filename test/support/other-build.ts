/** An executable that says to be another build, made from one by its bytes: an upgrade without building. */
import { expect } from "bun:test";
import { readFileSync, renameSync, writeFileSync } from "node:fs";

/** installOther puts it in the place of an installed one, as install(1) does, and returns what it says; `build` is what that one says. */
export function installOther(installed: string, build: string): string {
  const other = build.replace(/^./, build.startsWith("0") ? "1" : "0");
  const bytes = readFileSync(installed);
  let found = 0;
  for (let at = bytes.indexOf(build); at >= 0; at = bytes.indexOf(build, at + 1), found++)
    bytes.write(other, at, "latin1");
  expect(found).toBeGreaterThan(0);
  writeFileSync(`${installed}.new`, bytes, { mode: 0o755 });
  renameSync(`${installed}.new`, installed);
  return other;
}
