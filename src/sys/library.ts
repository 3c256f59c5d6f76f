/** Shared libraries by name: from where the system has them, and from nowhere else. */
import { CString, dlopen, FFIType, type Pointer } from "bun:ffi";
import { cString } from "./memory.ts";

const RTLD_LAZY = 1;

const { i32, ptr } = FFIType;
const load = () =>
  dlopen("libc.so.6", {
    dlopen: { args: [ptr, i32], returns: ptr },
    dlerror: { args: [], returns: ptr },
  }).symbols;
let calls: ReturnType<typeof load> | undefined;

/**
 * findLibrary loads a library by the system's own search (dlopen(3)); throws when it is not there. To come before the runtime's `dlopen`, which looks for
 * one that the system does not have in the working directory: what anybody put there would run with our rights. A path is taken as it is.
 */
export function findLibrary(name: string): void {
  calls ??= load();
  // It stays loaded, so that the runtime finds the same.
  if (calls.dlopen(cString(name), RTLD_LAZY) !== null) return;
  const text = calls.dlerror() as Pointer | null;
  throw new Error(text === null ? `Cannot load ${name}` : new CString(text).toString());
}
