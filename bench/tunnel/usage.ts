/** What processes have used, as /proc shows it, and what they come before. */
import { readFileSync, writeFileSync } from "node:fs";

/** USER_HZ on every Linux that Bun runs on (proc(5), sysconf(_SC_CLK_TCK)). */
const TICKS_PER_SECOND = 100;

/** cpuSeconds returns the CPU time of all threads of some processes, in user space and in the kernel. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // Fields are counted after the program's name, which is in parentheses; utime and stime are 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

/** MemoryUse is what a process holds, in MB. */
export interface MemoryUse {
  /** Resident, with the pages of files that others use too and that the kernel can drop. */
  readonly resident: number;
  /** Of pages that several processes have, its share. */
  readonly proportional: number;
  /** Written by it alone: what it takes from the machine. */
  readonly written: number;
}

/** memoryUse reads what a process holds now. */
export function memoryUse(pid: number): MemoryUse {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const megabytes = (name: string) =>
    (Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1]) * 1024) / 1e6;
  return {
    resident: megabytes("Rss"),
    proportional: megabytes("Pss"),
    written: megabytes("Private_Dirty"),
  };
}

/** maps tells whether a process has a file of that name mapped. */
export function maps(pid: number, name: string): boolean {
  return readFileSync(`/proc/${pid}/maps`, "utf8").includes(name);
}

/** preferSession lets everything that a process's session runs come before other work on this machine (sched(7), autogroups). */
export function preferSession(pid: number): void {
  writeFileSync(`/proc/${pid}/autogroup`, "-15");
}

/** startedMs returns when a process began, in milliseconds since the machine started (proc(5), field 22). */
export function startedMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[19]) * 1000) / TICKS_PER_SECOND;
}
