/**
 * Memory that outlives a process: a memfd (memfd_create(2)) of fixed size, mapped by all threads of a process, and by the process that gets
 * its descriptor.
 *
 * The size is sealed, so that nobody can make it smaller under somebody who reads it (SIGBUS). The descriptor can be passed on
 * (fdpass.ts); the memory goes with its last holder.
 */
import { dlopen, FFIType, type Pointer, toArrayBuffer } from "bun:ffi";
import { SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { cString } from "./memory.ts";

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
const F_SEAL_SEAL = 1;
const F_SEAL_SHRINK = 2;
const F_SEAL_GROW = 4;
const SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const SEEK_END = 2;
const ENOMEM = 12;

const { i32, u32, ptr, i64_fast, u64_fast } = FFIType;

const load = () =>
  dlopen("libc.so.6", {
    memfd_create: { args: [ptr, u32], returns: i32 },
    ftruncate: { args: [i32, i64_fast], returns: i32 },
    lseek: { args: [i32, i64_fast, i32], returns: i64_fast },
    mmap: { args: [ptr, u64_fast, i32, i32, i32, i64_fast], returns: ptr },
  }).symbols;
let calls: ReturnType<typeof load> | undefined;

/** createSharedMemory makes a memory of zeros; pages that nobody touches cost nothing. `name` is for /proc. */
export function createSharedMemory(name: string, bytes: number): Fd {
  calls ??= load();
  const number = calls.memfd_create(cString(name), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (number < 0) throw new SystemError("memfd_create", ENOMEM, name);
  const fd = new Fd(number, `memory ${name}`);
  if (calls.ftruncate(number, bytes) !== 0) {
    fd.close();
    throw new SystemError("ftruncate", ENOMEM, name);
  }
  libc.fcntl(number, F_ADD_SEALS, SEALS);
  return fd;
}

/**
 * mapSharedMemory maps [at, at + length) of a memory of exactly `bytes` bytes, for as long as this process lives; `at` is a multiple of 4,096. Throws
 * RangeError for a descriptor of anything else. Each call is a mapping of its own, of the same memory.
 */
export function mapSharedMemory(
  fd: number,
  { bytes, at, length }: { readonly bytes: number; readonly at: number; readonly length: number },
): ArrayBuffer {
  calls ??= load();
  const size = Number(calls.lseek(fd, 0, SEEK_END));
  let seals = 0;
  try {
    seals = libc.fcntl(fd, F_GET_SEALS, 0);
  } catch {
    // Not a memfd at all.
  }
  if (size !== bytes || (seals & SEALS) !== SEALS)
    throw new RangeError(`Descriptor ${fd} is not a sealed memory of ${bytes} bytes`);
  // The kernel maps beyond the end without complaint; who reads there dies (SIGBUS).
  if (!(at >= 0 && length > 0 && at + length <= bytes))
    throw new RangeError(`[${at}, ${at + length}) is not inside a memory of ${bytes} bytes`);
  const address = calls.mmap(null, length, PROT_READ_WRITE, MAP_SHARED, fd, at);
  // MAP_FAILED is -1, which arrives as the greatest number.
  if (address === null || Number(address) > 2 ** 48) throw new SystemError("mmap", ENOMEM);
  return toArrayBuffer(address as Pointer, 0, length);
}
