/** Lines for somebody who may not be reading: a log must not stop the work that it is of. */
import { SystemError } from "./errno.ts";
import * as libc from "./libc.ts";

/** What a pipe that is writable takes at least without waiting (PIPE_BUF, pipe(7)). */
const CHUNK_BYTES = 4096;

/** LossyWriter writes to a descriptor that it does not own; it never waits and never throws for what the system says. */
export class LossyWriter {
  readonly #fd: number;
  /** Of a line whose beginning is written. */
  #rest = new Uint8Array();

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** line writes a line, with its line feed; false if there was no room for any of it, and it is lost. What there is no room for yet follows. */
  line(text: string): boolean {
    if (!this.#write(this.#rest)) return false;
    const bytes = new Uint8Array(new TextEncoder().encode(text));
    this.#write(bytes);
    if (bytes.length > 0 && this.#rest.length === bytes.length) {
      this.#rest = new Uint8Array();
      return false;
    }
    return true;
  }

  /** Writes what there is room for, and keeps the rest; true if that was all. */
  #write(bytes: Uint8Array<ArrayBuffer>): boolean {
    let at = 0;
    try {
      while (at < bytes.length && libc.pollWritable(this.#fd, 0))
        at += libc.writeFrom(this.#fd, bytes.slice(at, at + CHUNK_BYTES));
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    }
    this.#rest = bytes.slice(at);
    return at === bytes.length;
  }
}
