/** Starting the program of this process anew in the same process: for what it reads only once, as it starts (execve(2)). */
import { dlopen, FFIType } from "bun:ffi";
import { readFileSync } from "node:fs";
import { environmentVariable } from "./environment.ts";
import { addressOf, cString, stable } from "./memory.ts";

const { i32, ptr } = FFIType;

/**
 * replaceProcess runs this program from its beginning, with the same words and with `variables` in its environment besides; process id, namespaces and
 * inheritable descriptors stay. It returns only if the system refuses.
 */
export function replaceProcess(variables: Readonly<Record<string, string>>): void {
  const { execve } = dlopen("libc.so.6", { execve: { args: [ptr, ptr, ptr], returns: i32 } }).symbols;
  const words = readFileSync("/proc/self/cmdline", "utf8").split("\0").slice(0, -1);
  const environment = Object.entries({ ...process.env, ...variables }).map(
    ([name, value]) => `${name}=${value}`,
  );
  execve(cString(process.execPath), pointers(words), pointers(environment));
}

/** How much is allocated until garbage is collected; the runtime reads it only as it starts. */
const COLLECT_AFTER = "BUN_JSC_gcMaxHeapSize";

/**
 * collectAfter has garbage collected whenever so many bytes were allocated: this process runs from its beginning for it, once. By itself the runtime waits
 * until as much was allocated as the heap holds, and what it once took for garbage it does not give back, since it moves nothing.
 */
export function collectAfter(bytes: number): void {
  // What a parent of ours has set for itself is inherited.
  if (environmentVariable(COLLECT_AFTER) !== `${bytes}`) replaceProcess({ [COLLECT_AFTER]: `${bytes}` });
}

/** A list of addresses, ended by a null, with what they lead to behind it: one buffer, which lives as long as the call. */
function pointers(texts: readonly string[]): Uint8Array<ArrayBuffer> {
  const strings = texts.map((text) => cString(text));
  const listBytes = (strings.length + 1) * 8;
  const block = stable(strings.reduce((bytes, { length }) => bytes + length, listBytes));
  const list = new BigUint64Array(block.buffer, 0, strings.length + 1);
  const address = addressOf(block);
  let at = listBytes;
  for (const [index, string] of strings.entries()) {
    block.set(string, at);
    list[index] = BigInt(address + at);
    at += string.length;
  }
  return block;
}
