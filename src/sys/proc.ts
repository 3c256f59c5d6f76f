/**
 * Other processes, as /proc shows them: who is who across restarts, and who lives in a network namespace.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";

/** ProcessIdentity names one process for ever; a process id alone is given out again. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after the boot (proc(5), field 22 of stat). */
  readonly startTicks: number;
  readonly bootId: string;
}

/** bootId returns the kernel's name for this boot. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/** identityOf returns the identity of a process that runs now; undefined when there is none. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // Fields after the program's name, which is in parentheses and may hold any byte; the first is number 3.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if ("ZXx".includes(fields[0] ?? "X")) return undefined;
    return { pid, startTicks: Number(fields[19]), bootId: bootId() };
  } catch {
    return undefined;
  }
}

/** isRunning tells whether exactly this process runs, and not another that got its id. */
export function isRunning(identity: ProcessIdentity): boolean {
  const now = identityOf(identity.pid);
  return now !== undefined && now.startTicks === identity.startTicks && now.bootId === identity.bootId;
}

/** processesInNetns returns the ids of the processes in any of the network namespaces, which are named by inode. */
export function processesInNetns(inodes: ReadonlySet<number>): number[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      return inodes.has(statSync(`/proc/${name}/ns/net`).ino) ? [Number(name)] : [];
    } catch {
      // Ended meanwhile, or a zombie, which has no namespaces.
      return [];
    }
  });
}

/** mountPoints returns where file systems are mounted, in the order of mounting. */
export function mountPoints(): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => {
      const field = line.split(" ")[4];
      // Blanks are written in octal (proc(5)).
      return field === undefined
        ? []
        : [field.replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(parseInt(code, 8)))];
    });
}

/** runtimePath returns the file that this process runs: our executable, or Bun when run from source. */
export function runtimePath(): string {
  return process.execPath;
}
