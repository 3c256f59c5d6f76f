import { expect, test } from "bun:test";
import { fileURLToPath } from "node:url";

const module = fileURLToPath(new URL("./replace-process.ts", import.meta.url));
const program = `
  import { replaceProcess } from ${JSON.stringify(module)};
  console.log(process.pid, process.env.NEW ?? "none", process.env.OLD, process.argv.slice(-1)[0]);
  if (process.env.NEW === undefined) replaceProcess({ NEW: "a=b ü" });
`;

test("a program begins anew in its process, with the same words and one variable more", () => {
  const { stdout } = Bun.spawnSync([process.execPath, "-e", program, "last word"], {
    env: { ...process.env, OLD: "old" },
    // One that goes on for ever, should it fail.
    timeout: 10_000,
  });
  const [first = "", second = "", ...rest] = stdout.toString().trim().split("\n");
  const [pid] = first.split(" ");
  expect(first).toBe(`${pid} none old last word`);
  expect(second).toBe(`${pid} a=b ü old last word`);
  expect(rest).toEqual([]);
});

test("what a process sets for its own garbage holds, also where a parent has set something else", () => {
  const own = `
    import { collectAfter } from ${JSON.stringify(module)};
    collectAfter(24_000_000);
    console.log(process.env.BUN_JSC_gcMaxHeapSize);
  `;
  for (const inherited of [undefined, "1000000", "24000000"]) {
    const { BUN_JSC_gcMaxHeapSize: _, ...env } = process.env;
    const { stdout } = Bun.spawnSync([process.execPath, "-e", own], {
      env: inherited === undefined ? env : { ...env, BUN_JSC_gcMaxHeapSize: inherited },
      timeout: 10_000,
    });
    expect(stdout.toString()).toBe("24000000\n");
  }
});
