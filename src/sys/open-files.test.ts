import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

/** What a child may open, asked for so many, after a shell has set `ulimit` words. */
function raised(limits: string, wanted: number): { readonly told: number; readonly line: string } {
  const program = `
    const { raiseOpenFiles } = await import(${JSON.stringify(`${import.meta.dir}/open-files.ts`)});
    const told = raiseOpenFiles(${wanted});
    const line = require("node:fs").readFileSync("/proc/self/limits", "utf8").split("\\n").find((one) => one.startsWith("Max open files"));
    console.log(JSON.stringify({ told, line }));`;
  const argv = ["sh", "-c", `${limits}; exec "$0" -e "$1"`, process.execPath, program];
  return JSON.parse(Bun.spawnSync(argv, { stderr: "inherit" }).stdout.toString());
}

const effective = /CapEff:\t(\S+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] as string;
const mayRaise = ((BigInt(`0x${effective}`) >> 24n) & 1n) === 1n;

test.skipIf(!mayRaise)(
  `a limit is raised with the right for it${mayRaise ? "" : " (skipped: needs CAP_SYS_RESOURCE)"}`,
  () => {
    const { told, line } = raised("ulimit -n 512", 3000);
    expect(told).toBe(3000);
    expect(line).toMatch(/^Max open files +3000 +3000 /);
  },
);

test.skipIf(mayRaise)(
  `without that right the limit is told${mayRaise ? " (skipped: has CAP_SYS_RESOURCE)" : ""}`,
  () => {
    expect(raised("ulimit -n 512", 3000).told).toBe(512);
  },
);

test("a limit that is higher stays", () => {
  expect(raised("ulimit -n 512", 300)).toMatchObject({ told: 300 });
  expect(raised("ulimit -n 512", 300).line).toMatch(/ 512 +512 /);
});
