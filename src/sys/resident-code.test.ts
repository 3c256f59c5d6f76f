import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { droppable, ResidentCode } from "./resident-code.ts";

const mapping = (range: string, rights: string, { inode = 7, dirtyKb = 0, path = "/usr/bin/x" } = {}) =>
  `${range} ${rights} 00000000 08:01 ${inode}     ${path}\nSize:   8 kB\nPrivate_Clean:  8 kB\nPrivate_Dirty:  ${dirtyKb} kB\n`;

test("only read-only mappings of files without a written page are dropped", () => {
  const smaps = [
    mapping("1000-3000", "r--p"),
    mapping("3000-5000", "r-xp"),
    mapping("5000-7000", "rw-p"),
    // After relocation: written, and read-only since.
    mapping("7000-9000", "r--p", { dirtyKb: 4 }),
    mapping("9000-b000", "r-xp", { inode: 0, path: "[vdso]" }),
    mapping("b000-d000", "r--s"),
    mapping("7f0000000000-7f0000002000", "r-xp", { path: "/usr/lib/with space.so" }),
  ].join("");
  expect(droppable(smaps)).toEqual([
    { from: 0x1000, bytes: 0x2000 },
    { from: 0x3000, bytes: 0x2000 },
    { from: 0x7f0000000000, bytes: 0x2000 },
  ]);
});

const filesKb = () => Number(/RssFile:\s+(\d+)/.exec(readFileSync("/proc/self/status", "latin1"))?.[1]);

test("pages of code leave memory when they are due, and come back as they are used", () => {
  const code = new ResidentCode({ afterMs: 1000 });
  expect(code.waitMs(5000, -1)).toBe(1000);
  expect(code.waitMs(5400, 10)).toBe(10);
  const before = filesKb();
  expect(code.waitMs(6000, -1)).toBe(-1);
  expect(filesKb()).toBeLessThan(before);
  // What ended that wait is work again.
  expect(code.waitMs(9000, -1)).toBe(1000);
  expect(JSON.stringify([..."abc"].sort().reverse())).toBe('["c","b","a"]');
});
