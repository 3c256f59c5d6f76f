/**
 * Network namespaces: open, enter for the length of one synchronous function, make and remove.
 *
 * `setns` moves only the calling thread, which is the thread that runs JavaScript. A window must be synchronous:
 * system calls, `node:fs` sync calls, `Bun.listen`, `Bun.spawn`, `Bun.connect` to literal addresses. Never `fetch`, DNS or promises.
 */
import { closeSync, mkdirSync, openSync, statSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import { isErrno, SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import { inHostMounts } from "./host-mounts.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";

const CLONE_NEWNET = 0x40000000;
const MS_BIND = 4096;
const MNT_DETACH = 2;
const O_CLOEXEC = 0o2000000;

/** Netns is an open handle on a network namespace; it keeps the namespace alive. */
export class Netns implements Disposable {
  readonly fd: Fd;
  /** How the namespace was named by the caller: a path. */
  readonly path: string;
  /** Inode number of the namespace: equal for two handles on the same one. */
  readonly inode: number;

  private constructor(fd: Fd, path: string) {
    this.fd = fd;
    this.path = path;
    this.inode = statSync(`/proc/self/fd/${fd.number}`).ino;
  }

  /** open opens a namespace by path (`/run/netns/x`, `/proc/PID/ns/net`); ENOENT if it is not there. */
  static open(path: string): Netns {
    return new Netns(new Fd(openSync(path, O_CLOEXEC), `netns ${path}`), path);
  }

  /** adopt takes over a descriptor of a namespace that was received from elsewhere. */
  static adopt(fd: number, path: string): Netns {
    return new Netns(new Fd(fd, `netns ${path}`), path);
  }

  /** current opens the namespace of the calling thread. */
  static current(): Netns {
    return Netns.open("/proc/thread-self/ns/net");
  }

  /** run calls the synchronous function with this thread inside the namespace, and returns home even if it throws. */
  run<T>(work: () => T extends Promise<unknown> ? never : T): T {
    const home = openSync("/proc/thread-self/ns/net", O_CLOEXEC);
    try {
      libc.setns(this.fd.number, CLONE_NEWNET);
      try {
        return work() as T;
      } finally {
        libc.setns(home, CLONE_NEWNET);
      }
    } finally {
      closeSync(home);
    }
  }

  close(): void {
    this.fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** createNetns makes a new namespace and binds it to `path`, as `ip netns add` does; EEXIST if the path is taken. Among the host's mounts. */
export function createNetns(path: string): void {
  inHostMounts(() => bindNewNetns(path));
}

function bindNewNetns(path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  closeSync(openSync(path, "wx", 0o444));
  const home = openSync("/proc/thread-self/ns/net", O_CLOEXEC);
  try {
    libc.unshare(CLONE_NEWNET);
    try {
      libc.mount("/proc/thread-self/ns/net", path, "none", MS_BIND);
    } finally {
      libc.setns(home, CLONE_NEWNET);
    }
  } catch (error) {
    unlinkSync(path);
    throw error;
  } finally {
    closeSync(home);
  }
}

/** removeNetns undoes createNetns; a path that is not there is not an error. */
export function removeNetns(path: string): void {
  inHostMounts(() => unbindNetns(path));
}

function unbindNetns(path: string): void {
  try {
    libc.umount(path, MNT_DETACH);
  } catch (error) {
    if (!(error instanceof SystemError) || !["EINVAL", "ENOENT"].includes(error.code)) throw error;
  }
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
  }
}

/** isNetns tells whether a path is a bound namespace, and not the empty file left by one. */
export function isNetns(path: string): boolean {
  try {
    return statSync(path).dev === statSync("/proc/self/ns/net").dev;
  } catch {
    return false;
  }
}

const NS_GET_NSTYPE = 0xb703;

/** isNetworkNamespace tells whether a descriptor is one of a network namespace (ioctl_ns(2), Linux 4.11). */
export function isNetworkNamespace(fd: Fd): boolean {
  try {
    return libc.ioctl(fd.number, NS_GET_NSTYPE, stable(8)) === CLONE_NEWNET;
  } catch (error) {
    if (isErrno(error, "ENOTTY", "EINVAL")) return false;
    throw error;
  }
}
