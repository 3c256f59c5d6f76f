/**
 * Descriptors that are owned: closed exactly once, and counted, so that a test can show which leaked and where it was made.
 */
import * as libc from "./libc.ts";

const open = new Map<Fd, string>();

/** Fd owns one file descriptor; `using` or `close()` gives it back. */
export class Fd implements Disposable {
  #number: number;

  constructor(number: number, what: string) {
    if (!Number.isInteger(number) || number < 0)
      throw new TypeError(`${what}: ${number} is not a descriptor`);
    this.#number = number;
    open.set(this, what);
  }

  /** The descriptor's number; throws once closed. */
  get number(): number {
    if (this.#number < 0) throw new Error("descriptor is closed");
    return this.#number;
  }

  get closed(): boolean {
    return this.#number < 0;
  }

  /** close gives the descriptor back to the system; a second call does nothing. */
  close(): void {
    if (this.#number < 0) return;
    const number = this.#number;
    this.#number = -1;
    open.delete(this);
    libc.close(number);
  }

  /** release hands the descriptor's number to another owner (a runtime socket) and forgets it. */
  release(): number {
    const number = this.number;
    this.#number = -1;
    open.delete(this);
    return number;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** openDescriptions names what every open Fd was made for; empty when nothing leaks. */
export function openDescriptions(): string[] {
  return [...open.values()];
}
