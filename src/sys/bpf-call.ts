/** bpf(2) itself, for bpf.ts and bpf-map.ts. Layouts are those of `union bpf_attr` (include/uapi/linux/bpf.h). */
import { dlopen, FFIType, type Pointer, read } from "bun:ffi";
import { SystemError } from "./errno.ts";
import { addressOf, stable } from "./memory.ts";

/** include/uapi/asm-generic/unistd.h, and arch/x86/entry/syscalls/syscall_64.tbl. */
const SYS_BPF = process.arch === "x64" ? 321 : 280;
const NAME_BYTES = 16;

const word = FFIType.i64_fast;
const load = () =>
  dlopen("libc.so.6", {
    __errno_location: { args: [], returns: FFIType.ptr },
    syscall: { args: [word, word, word, word], returns: word },
  }).symbols;
let libc: ReturnType<typeof load> | undefined;

/** Attributes are what a call is given, and the memory that it refers to. */
export interface Attributes {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly refers: Uint8Array<ArrayBuffer>[];
}

/** bpf calls with the attributes; the result is a descriptor or 0. */
export function bpf(command: number, { bytes, refers }: Attributes, what: string): number {
  libc ??= load();
  const errno = libc.__errno_location() as Pointer;
  const result = Number(libc.syscall(SYS_BPF, command, addressOf(bytes), bytes.length));
  // Until here all of it had to stay.
  refers.length = 0;
  if (result < 0) throw new SystemError(what, read.i32(errno, 0));
  return result;
}

/** attributes returns some of zeros. */
export function attributes(length: number): Attributes {
  const bytes = stable(length);
  return { bytes, view: new DataView(bytes.buffer), refers: [] };
}

/** refer puts the address of a memory into attributes. */
export function refer({ view, refers }: Attributes, at: number, to: Uint8Array<ArrayBuffer>): void {
  refers.push(to);
  view.setBigUint64(at, BigInt(addressOf(to)), true);
}

/** nameBytes returns the name of a map or program as the kernel takes it. */
export const nameBytes = (name: string): Uint8Array =>
  new TextEncoder().encode(name).subarray(0, NAME_BYTES - 1);
