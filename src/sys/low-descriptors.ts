/**
 * Low descriptors, kept for a library that waits with select(2): the C library aborts the process when such a descriptor is 1024 (FD_SETSIZE) or
 * more, and an agent with a hundred namespaces has more than that. The kernel gives the lowest free number, so who frees a low one and opens
 * something at once gets that.
 */
import { closeSync, openSync, readlinkSync } from "node:fs";

/** sys/select.h of the C library. */
const FD_SETSIZE = 1024;
const O_CLOEXEC = 0o2000000;
/** Threads that open something just then are rare. */
const MOST_TRIES = 8;

/** LowDescriptors keeps some for as long as the process lives. */
export class LowDescriptors {
  readonly #count: number;
  readonly #kept: number[] = [];
  #lent = 0;

  /** `count` is how many things may be open at once. To be made early, while low numbers are free. */
  constructor(count: number) {
    this.#count = count;
    this.#fill();
  }

  /** open makes something that has one socket as long as it lives; `undo` ends one whose place another thread took. */
  open<T>(make: () => T, undo: (value: T) => void): T {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      this.#fill();
      const kept = this.#kept.pop();
      if (kept === undefined) break;
      closeSync(kept);
      const next = lowestFree();
      const value = make();
      if (next < FD_SETSIZE && isSocket(next)) {
        this.#lent++;
        return value;
      }
      undo(value);
    }
    throw new Error(
      `Cannot open a socket below descriptor ${FD_SETSIZE}: ${this.#lent} of at most ${this.#count} are in use`,
    );
  }

  /** closed says that something that was opened is closed. */
  closed(): void {
    this.#lent--;
    this.#fill();
  }

  /** A place that another thread took is had again when it is free. */
  #fill(): void {
    while (this.#kept.length + this.#lent < this.#count) {
      const number = openSync("/dev/null", O_CLOEXEC);
      if (number < FD_SETSIZE) this.#kept.push(number);
      else {
        closeSync(number);
        return;
      }
    }
  }
}

/** What is opened next gets this number, unless another thread opens something in between. */
function lowestFree(): number {
  const number = openSync("/dev/null", O_CLOEXEC);
  closeSync(number);
  return number;
}

function isSocket(number: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${number}`).startsWith("socket:");
  } catch {
    return false;
  }
}
