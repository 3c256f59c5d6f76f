/**
 * System calls of the packet path, on memory of an arena: batches of datagrams, packets of a TUN queue, waiting.
 *
 * They run hundreds of thousands of times a second, so they make no objects: the result is a count, or a negative error number (`-EAGAIN`).
 * The kernel checks addresses by itself (EFAULT); lengths are checked here because it would write over a neighbour without complaint.
 */
import { dlopen, FFIType, type Pointer, read } from "bun:ffi";
import type { Arena } from "./arena.ts";

const { i32, u32, ptr, i64_fast, u64_fast } = FFIType;

const EINTR = 4;
const MSG_DONTWAIT = 0x40;

/** Sizes of the kernel's structures on 64-bit Linux (include/linux/socket.h, include/uapi/linux/uio.h, include/uapi/asm-generic/poll.h). */
export const SIZE = { mmsghdr: 64, iovec: 16, pollfd: 8 } as const;

/** UIO_MAXIOV of include/uapi/linux/uio.h: more parts than this are refused. */
export const MOST_PARTS = 1024;

/**
 * Numbers of calls that are made once for each packet, by syscall(2): libc's own functions are points at which a thread may be cancelled
 * (pthreads(7)), and in a program with several threads each call pays for that.
 */
const CALL =
  process.arch === "arm64" ? { read: 63, write: 64, writev: 66 } : { read: 0, write: 1, writev: 20 };

const load = () =>
  dlopen("libc.so.6", {
    __errno_location: { args: [], returns: ptr },
    syscall: { args: [i64_fast, i64_fast, ptr, i64_fast], returns: i32 },
    recvmmsg: { args: [i32, ptr, u32, i32, ptr], returns: i32 },
    sendmmsg: { args: [i32, ptr, u32, i32], returns: i32 },
    poll: { args: [ptr, u64_fast, i32], returns: i32 },
  }).symbols;

let loaded: ReturnType<typeof load> | undefined;
let errnoAddress = 0 as Pointer;

/** The calls, bound when first used: a command that moves no packets does not pay for them. */
function libc(): ReturnType<typeof load> {
  if (loaded === undefined) {
    loaded = load();
    errnoAddress = loaded.__errno_location() as Pointer;
  }
  return loaded;
}

function outcome(result: number): number {
  return result >= 0 ? result : -read.i32(errnoAddress, 0);
}

/** readPacket reads once into [at, at + bytes). */
export function readPacket(fd: number, arena: Arena, at: number, bytes: number): number {
  return outcome(libc().syscall(CALL.read, fd, arena.address(at, bytes), bytes));
}

/** writePacket writes [at, at + bytes) once. */
export function writePacket(fd: number, arena: Arena, at: number, bytes: number): number {
  return outcome(libc().syscall(CALL.write, fd, arena.address(at, bytes), bytes));
}

/** writeParts writes the parts that `count` iovecs at `vectors` name, as one packet. They were filled by `storePart`. */
export function writeParts(fd: number, arena: Arena, vectors: number, count: number): number {
  return outcome(libc().syscall(CALL.writev, fd, arena.address(vectors, count * SIZE.iovec), count));
}

/** storePart fills the iovec at `vector` with the place of [at, at + bytes). */
export function storePart(arena: Arena, vector: number, at: number, bytes: number): void {
  arena.storeAddress(vector, at, bytes);
  arena.u32[(vector >>> 2) + 2] = bytes;
  arena.u32[(vector >>> 2) + 3] = 0;
}

/** receiveMessages fills up to `count` messages, without waiting. */
export function receiveMessages(fd: number, arena: Arena, messages: number, count: number): number {
  return outcome(
    libc().recvmmsg(fd, arena.address(messages, count * SIZE.mmsghdr), count, MSG_DONTWAIT, null),
  );
}

/** sendMessages sends up to `count` messages, without waiting; the error of the first is the result, one of a later shortens the count. */
export function sendMessages(fd: number, arena: Arena, messages: number, count: number): number {
  return outcome(libc().sendmmsg(fd, arena.address(messages, count * SIZE.mmsghdr), count, MSG_DONTWAIT));
}

/** pollMany waits for any of `count` descriptors; 0 when the time passed or a signal came. */
export function pollMany(arena: Arena, requests: number, count: number, timeoutMs: number): number {
  const result = outcome(libc().poll(arena.address(requests, count * SIZE.pollfd), count, timeoutMs));
  return result === -EINTR ? 0 : result;
}
