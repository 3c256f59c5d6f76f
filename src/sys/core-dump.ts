/** Core files, which would hold all keys of a process that ended by a fault (setrlimit(2)). */
import { dlopen, FFIType } from "bun:ffi";
import { stable } from "./memory.ts";

const RLIMIT_CORE = 4;

/** forbidCoreDumps makes this process, and those that it starts, leave no core file. (A program that the kernel pipes cores to is asked all the same.) */
export function forbidCoreDumps(): void {
  const { setrlimit } = dlopen("libc.so.6", {
    setrlimit: { args: [FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
  }).symbols;
  // struct rlimit: soft and hard, both zero. Lowering them needs no right and cannot fail.
  setrlimit(RLIMIT_CORE, stable(16));
}
