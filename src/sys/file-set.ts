/** A folder of secret files that change together: everything is written aside first, so that a full disk or a mistake leaves all as it was. */
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { isErrno } from "./errno.ts";

/** FileSet is a change of a folder; paths are relative to it. Files are 0600, folders 0700. */
export interface FileSet {
  /** Renamed into place in this order. */
  readonly write: readonly { readonly path: string; readonly content: string }[];
  readonly remove: readonly string[];
}

function sync(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes a folder to write into, beside or in the one that is meant; its being there means that another run writes. */
function stage(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
    throw new Error(`Cannot write ${dirname(path)}: another run writes there; if none does, remove ${path}`);
  }
}

function fill(folder: string, files: readonly { readonly path: string; readonly content: string }[]): void {
  for (const { path, content } of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true, mode: 0o700 });
    writeFileSync(join(folder, path), content, { mode: 0o600, flag: "wx" });
  }
  for (const { path } of files) sync(join(folder, path));
}

/** replaceFiles carries out a change, all of it or, up to the first rename, nothing; a folder that does not exist comes with one rename. */
export function replaceFiles(folder: string, change: FileSet): void {
  const fresh = !existsSync(folder);
  mkdirSync(dirname(folder), { recursive: true });
  const staging = fresh ? `${folder}.new` : join(folder, ".new");
  stage(staging);
  try {
    fill(staging, change.write);
    if (fresh) renameSync(staging, folder);
    else {
      chmodSync(folder, 0o700);
      for (const { path } of change.write) {
        mkdirSync(dirname(join(folder, path)), { recursive: true, mode: 0o700 });
        renameSync(join(staging, path), join(folder, path));
      }
      for (const path of change.remove) removeFile(folder, path);
    }
  } finally {
    if (!fresh || existsSync(staging)) rmSync(staging, { recursive: true, force: true });
  }
  sync(folder);
  sync(dirname(folder));
}

/** A folder that the last file left goes too; what others put there stays, and it with it. */
function removeFile(folder: string, path: string): void {
  rmSync(join(folder, path), { force: true });
  if (dirname(path) === ".") return;
  try {
    rmdirSync(join(folder, dirname(path)));
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTEMPTY")) throw error;
  }
}
