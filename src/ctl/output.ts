/** What the command line reads, and where its words go: results to standard output, progress and errors to standard error. */
import { readStandardInput, readText, writeStandardError, writeStandardOutput } from "../sys/mod.ts";

export { readStandardInput };

/** readFile returns the text of a file that the user named. */
export function readFile(path: string, hint = ""): string {
  let text: string | undefined;
  try {
    text = readText(path);
  } catch (error) {
    // The runtime names the file when it cannot open it, not when it cannot read it.
    throw Object.assign(error as Error, { path });
  }
  if (text === undefined) throw new Error(`There is no file ${path}${hint === "" ? "" : `; ${hint}`}`);
  return text;
}

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
