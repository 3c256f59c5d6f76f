import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { instanceOf } from "../gateway/mod.ts";
import { lockInstance, lockState } from "./locks.ts";

const base = mkdtempSync(join(tmpdir(), "causeway-locks-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));

test("a state folder is one gateway's, by whatever path", () => {
  const folder = join(base, "state");
  using first = lockState(folder, "paris");
  symlinkSync(folder, join(base, "link"));
  for (const path of [folder, join(base, "link")])
    expect(() => lockState(path, "tokyo")).toThrow(
      `Cannot run gateway tokyo: gateway paris, process ${process.pid}, has the state folder ${path}; end it, or give this one another --state`,
    );
  first[Symbol.dispose]();
  using _ = lockState(folder, "tokyo");
});

test("names that come to one number in the kernel are refused, both named", () => {
  const other = Array.from({ length: 2000 }, (_, n) => `city${n}`).find(
    (name) => instanceOf(name) === instanceOf("paris"),
  ) as string;
  {
    using _ = lockInstance("paris", instanceOf("paris"), { folder: base });
    expect(() => lockInstance(other, instanceOf(other), { folder: base })).toThrow(
      `Cannot run gateway ${other}: gateway paris, process ${process.pid}, has the same number`,
    );
    using free = lockInstance("lyon", (instanceOf("paris") + 1) % 256, { folder: base });
    expect(free).toBeDefined();
  }
  expect(readdirSync(base).filter((name) => name.endsWith(".lock"))).toEqual([]);
});

test("what a gateway has left blocked is not another's, of the same number, but its own", () => {
  let isLeft = true;
  const at = { folder: join(base, "left"), isLeft: () => isLeft };
  const lock = (name: string) => lockInstance(name, 5, at);
  lock("paris")[Symbol.dispose]();
  expect(() => lock("tokyo")).toThrow(
    "Cannot run gateway tokyo: gateway paris has left its networks blocked, with the same number (5 of 256, from the name) in the kernel of this network namespace; start that one again and end it by SIGINT, or give this one another name",
  );
  {
    using _ = lock("paris");
    isLeft = false;
  }
  expect(readdirSync(at.folder)).toEqual([]);
  using _ = lock("tokyo");
});
