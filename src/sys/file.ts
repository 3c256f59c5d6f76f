/** Files: read, and write so that a reader or a crash sees the old content or the new, never a part. */
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import { inHostMounts } from "./host-mounts.ts";
import * as libc from "./libc.ts";

const O_WRONLY = 1;

/** readText returns a file's text, or undefined when it does not exist. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

/** readBytes returns a file's content; ENOENT if it is not there. */
export function readBytes(path: string): Uint8Array {
  return readFileSync(path);
}

/** writeAtomic replaces a file by rename, durable when it returns; parents are made 0755 where missing. */
export function writeAtomic(path: string, content: string | Uint8Array, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  // Two at once write files of their own.
  const temporary = `${path}.${process.pid}.new`;
  rmSync(temporary, { force: true });
  const fd = openSync(temporary, "wx", mode);
  try {
    try {
      writeAll(fd, Buffer.from(content));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(dirname(path));
}

/** A disk that is nearly full takes a part and says so; the call after that says why. */
function writeAll(fd: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length;) written += writeSync(fd, bytes, written);
}

/** A rename survives a power loss only once its directory is on disk. */
function syncDirectory(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** shortenLog empties a file that grew above a size; for logs that another program appends to. Not being there is not an error. */
export function shortenLog(path: string, mostBytes: number): void {
  try {
    if (statSync(path).size > mostBytes) truncateSync(path, 0);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

/** writeKernelFile writes a value to a file of /proc or /sys; one that is not there is not made. A container's are read-only, so the host's are meant. */
export function writeKernelFile(path: string, text: string): void {
  inHostMounts(() => {
    using file = new Fd(libc.open(path, O_WRONLY), path);
    libc.writeFrom(file.number, new Uint8Array(new TextEncoder().encode(text)));
  });
}

/** ensureDirectory makes a directory (and its parents) and sets its mode. */
export function ensureDirectory(path: string, mode = 0o755): void {
  mkdirSync(path, { recursive: true });
  chmodSync(path, mode);
}

/** listDirectory returns sorted names, or none when the directory does not exist. */
export function listDirectory(path: string): string[] {
  try {
    return readdirSync(path).sort();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}

/** removeTree removes a file or a folder with all it holds; not being there is not an error. */
export function removeTree(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

/** exists tells whether a path exists. */
export function exists(path: string): boolean {
  return existsSync(path);
}

/** fileMode returns a file's permissions, 12 bits; ENOENT if it is not there. */
export function fileMode(path: string): number {
  return statSync(path).mode & 0o7777;
}

/** isExecutable tells whether a path leads to a file that everybody may execute. */
export function isExecutable(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true && (found.mode & 0o111) === 0o111;
}

/** copyAtomic replaces `to` by a copy of `from` with one rename, so that a program that runs from `to` is not disturbed. */
export function copyAtomic(from: string, to: string, mode: number): void {
  const temporary = `${to}.${process.pid}.new`;
  rmSync(temporary, { force: true });
  copyFileSync(from, temporary);
  chmodSync(temporary, mode);
  const fd = openSync(temporary, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, to);
}

/** sameContent tells whether two files hold the same bytes; one that does not exist, or is no file, is the same as none. */
export function sameContent(one: string, other: string): boolean {
  const fds: number[] = [];
  try {
    for (const path of [one, other]) fds.push(openSync(path, "r"));
    const [a, b] = fds as [number, number];
    if (fstatSync(a).size !== fstatSync(b).size) return false;
    const [left, right] = [Buffer.alloc(1 << 20), Buffer.alloc(1 << 20)];
    for (;;) {
      const count = readSync(a, left);
      if (count !== readSync(b, right) || left.compare(right, 0, count, 0, count) !== 0) return false;
      if (count === 0) return true;
    }
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EISDIR", "ELOOP")) return false;
    throw error;
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

/** linkTarget returns what a symbolic link says, or undefined for what is none. */
export function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EINVAL")) return undefined;
    throw error;
  }
}

/** linkAtomic replaces `path` by a symbolic link with one rename. */
export function linkAtomic(target: string, path: string): void {
  const temporary = `${path}.new`;
  rmSync(temporary, { force: true });
  symlinkSync(target, temporary);
  renameSync(temporary, path);
}

/** realPath returns where a name in a folder is once links of the folder are followed; the folder need not exist. */
export function realPath(folder: string, name: string): string {
  return join(exists(folder) ? realpathSync(folder) : folder, name);
}
