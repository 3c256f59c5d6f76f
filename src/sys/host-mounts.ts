/**
 * The host's mounts, for an agent in a pod: what it mounts in its own namespace is gone with it and seen by nobody, and /proc/sys is read-only
 * there. Process 1's namespace is entered for the length of one synchronous function, by the thread that runs JavaScript alone.
 *
 * It takes CAP_SYS_ADMIN and CAP_SYS_CHROOT (setns(2)), and CAP_SYS_PTRACE to look at process 1 (namespaces(7)), whose process ids must be ours.
 */
import { openSync, statSync } from "node:fs";
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";

const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;
const CLONE_NEWCGROUP = 0x2000000;
const O_CLOEXEC = 0o2000000;
const O_WRONLY = 1;

/** A namespace of the host, and our own of that type. */
interface Pair {
  readonly host: Fd;
  readonly own: Fd;
  readonly type: number;
}

let pairs: readonly Pair[] = [];

function pairOf(name: "mnt" | "cgroup", type: number): Pair[] {
  const [host, own] = [`/proc/1/ns/${name}`, `/proc/thread-self/ns/${name}`];
  if (statSync(host).ino === statSync(own).ino) return [];
  const open = (path: string) => new Fd(openSync(path, O_CLOEXEC), path);
  return [{ host: open(host), own: open(own), type }];
}

/**
 * A thread that shares root and working folder with others may not change its mounts (setns(2)), and shares them with each that it has started, as the
 * runtime does whenever it likes (clone(2), CLONE_FS). Where it shares them with nobody, unshare(2) does nothing.
 */
function enter(namespace: Fd, type: number): void {
  libc.unshare(CLONE_FS);
  libc.setns(namespace.number, type);
}

/** openHostMounts has inHostMounts enter the namespaces of process 1. Where they are ours, nothing changes. Throws where they may not be entered, saying why. */
export function openHostMounts(): void {
  try {
    // Its mounts would be taken for the host's.
    if (process.pid === 1) throw new Error("process 1 is this one");
    pairs = [...pairOf("cgroup", CLONE_NEWCGROUP), ...pairOf("mnt", CLONE_NEWNS)];
    inHostMounts(() => statSync("/"));
  } catch (cause) {
    pairs = [];
    const fix =
      "; run it with hostPID and the capabilities SYS_ADMIN, SYS_CHROOT and SYS_PTRACE, and without AppArmor";
    throw new Error(`Cannot enter the host's mounts: ${(cause as Error).message}${fix}`, { cause });
  }
}

/** inHostMounts calls a synchronous function where mounts and settings are the host's; just calls it where they are ours. The working folder is `/` afterwards. */
export function inHostMounts<T>(work: () => T extends Promise<unknown> ? never : T): T {
  using back = new DisposableStack();
  for (const { host, own, type } of pairs) {
    enter(host, type);
    back.defer(() => enter(own, type));
  }
  return work() as T;
}

/** The first group of the unified hierarchy (cgroups(7)): it needs no right to make another one, and nothing is left of it. */
const FIRST_GROUP = "/sys/fs/cgroup/cgroup.procs";

/**
 * outliveContainer takes a process out of our container's control group, because a runtime ends all that is in it. False where nothing was done:
 * this process is in no container, or the host has control groups of version 1, whose hierarchies are many.
 */
export function outliveContainer(pid: number): boolean {
  if (pairs.length === 0) return false;
  return inHostMounts(() => {
    try {
      using file = new Fd(libc.open(FIRST_GROUP, O_WRONLY), FIRST_GROUP);
      libc.writeFrom(file.number, new TextEncoder().encode(`${pid}`));
      return true;
    } catch (error) {
      // It may have ended already (ESRCH). With version 1 there is no such file; where groups cannot be changed, it ends with the pod.
      if (isErrno(error, "ENOENT", "ESRCH", "EROFS", "EACCES", "EPERM")) return false;
      throw error;
    }
  }) as boolean;
}
