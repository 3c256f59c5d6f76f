/** A descriptor that one thread makes readable to wake another out of poll(2): eventfd(2). */
import { dlopen, FFIType } from "bun:ffi";
import { isErrno, SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

const load = () =>
  dlopen("libc.so.6", { eventfd: { args: [FFIType.u32, FFIType.i32], returns: FFIType.i32 } }).symbols;
let calls: ReturnType<typeof load> | undefined;

/** Waker owns the descriptor. A thread that only has its number uses `wake`. */
export class Waker implements Disposable {
  readonly fd: Fd;

  constructor() {
    calls ??= load();
    const number = calls.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    // The number of descriptors is all that can be exhausted.
    if (number < 0) throw new SystemError("eventfd", 24);
    this.fd = new Fd(number, "waker");
  }

  /** wake makes it readable. */
  wake(): void {
    wake(this.fd.number);
  }

  /** clear makes it unreadable; true if it was readable. */
  clear(): boolean {
    try {
      return libc.readInto(this.fd.number, stable(8)) === 8;
    } catch (error) {
      if (isErrno(error, "EAGAIN")) return false;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.fd.close();
  }
}

/** wake makes the waker with this descriptor readable, from any thread of the process. */
export function wake(fd: number): void {
  const one = stable(8);
  one[0] = 1;
  libc.writeFrom(fd, one);
}
