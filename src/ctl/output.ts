/** Where the command line's words go: results to standard output, progress and errors to standard error. */
import { readStandardInput, writeStandardError, writeStandardOutput } from "../sys/mod.ts";

export { readStandardInput };

/** printText writes a result. */
export function printText(text: string): void {
  writeStandardOutput(text);
}

/** printJson writes a result as one JSON document and returns the exit status of success. */
export function printJson(value: unknown): number {
  writeStandardOutput(`${JSON.stringify(value, null, 2)}\n`);
  return 0;
}

/** progress writes a line for the person who waits. */
export function progress(text: string): void {
  writeStandardError(`${text}\n`);
}
