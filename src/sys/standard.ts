/**
 * Standard input, output and error, by plain synchronous calls: nothing is lost at exit, and a broken pipe ends in silence.
 * (`process.stdout` loses what it has not written when the process ends, and costs 9 ms at the start.)
 */
import { readFileSync, writeSync } from "node:fs";
import { isErrno } from "./errno.ts";

function writeAll(fd: number, text: string): void {
  const bytes = new TextEncoder().encode(text);
  let offset = 0;
  while (offset < bytes.length) {
    try {
      offset += writeSync(fd, bytes, offset);
    } catch (error) {
      if (isErrno(error, "EPIPE")) return;
      if (!isErrno(error, "EAGAIN")) throw error;
    }
  }
}

/** writeStandardOutput writes all of the text. */
export function writeStandardOutput(text: string): void {
  writeAll(1, text);
}

/** writeStandardError writes all of the text. */
export function writeStandardError(text: string): void {
  writeAll(2, text);
}

/** readStandardInput reads to the end. */
export function readStandardInput(): string {
  return readFileSync(0, "utf8");
}
