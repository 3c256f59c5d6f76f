/** How many files this process may have open (getrlimit(2), RLIMIT_NOFILE). */
import { dlopen, FFIType } from "bun:ffi";
import { stable } from "./memory.ts";

const RLIMIT_NOFILE = 7;
const { i32, ptr } = FFIType;

/** raiseOpenFiles lets this process have `wanted` files open, and those that it starts, if it may (CAP_SYS_RESOURCE); returns how many it may have now. */
export function raiseOpenFiles(wanted: number): number {
  const { getrlimit, setrlimit } = dlopen("libc.so.6", {
    getrlimit: { args: [i32, ptr], returns: i32 },
    setrlimit: { args: [i32, ptr], returns: i32 },
  }).symbols;
  // struct rlimit: soft and hard.
  const limits = new BigUint64Array(stable(16).buffer, 0, 2);
  const read = () => {
    getrlimit(RLIMIT_NOFILE, limits);
    return { soft: limits[0] as bigint, hard: limits[1] as bigint };
  };
  const before = read();
  const most = BigInt(wanted);
  if (before.soft >= most) return wanted;
  for (const hard of [before.hard > most ? before.hard : most, before.hard]) {
    limits[0] = hard < most ? hard : most;
    limits[1] = hard;
    if (setrlimit(RLIMIT_NOFILE, limits) === 0) break;
  }
  return Number(read().soft);
}
