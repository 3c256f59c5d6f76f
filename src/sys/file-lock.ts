/**
 * Exclusive locks between processes, each a file with flock(2): the kernel gives it back when its process ends, however that ends. In the file is
 * who has it.
 */
import { fstatSync, ftruncateSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

/** FileLockOptions are for what outlives who had the lock. */
export interface FileLockOptions {
  /** Is told what the last holder left in the file, "" for none, and may throw: then nothing has changed. */
  readonly check?: (before: string) => void;
  /** Whether the file stays, with its holder's text, when the lock is given back. */
  readonly stays?: () => boolean;
}

/** FileLock is held until it is disposed of, or the process ends. */
export class FileLock implements Disposable {
  readonly #file: Fd;
  readonly #path: string;
  readonly #stays: () => boolean;

  private constructor(file: Fd, path: string, stays: () => boolean) {
    this.#file = file;
    this.#path = path;
    this.#stays = stays;
  }

  /**
   * take returns the lock, or the text of who has it. The file is made, 0600, in a folder that is there; `holder` is written to it. Two paths to
   * one file are one lock.
   */
  static take(path: string, holder: string, options: FileLockOptions = {}): FileLock | string {
    const { check, stays = () => false } = options;
    for (;;) {
      const file = new Fd(openSync(path, "a+", 0o600), `lock ${path}`);
      try {
        libc.flock(file.number, LOCK_EX | LOCK_NB);
        // Who had it may have removed the file meanwhile: then this is the lock of nothing.
        if (isAt(path, file)) {
          check?.(holderAt(path));
          ftruncateSync(file.number);
          writeSync(file.number, holder);
          return new FileLock(file, path, stays);
        }
        file.close();
      } catch (error) {
        file.close();
        if (!isErrno(error, "EAGAIN")) throw error;
        return holderAt(path);
      }
    }
  }

  /** If the file goes, then while the lock is held, so that nobody waits at a file that is gone. */
  [Symbol.dispose](): void {
    if (this.#file.closed) return;
    if (!this.#stays()) rmSync(this.#path, { force: true });
    this.#file.close();
  }
}

function isAt(path: string, file: Fd): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  const own = fstatSync(file.number);
  return found?.ino === own.ino && found.dev === own.dev;
}

/** It may not have been written yet, or be gone by now. */
function holderAt(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    return "";
  }
}
