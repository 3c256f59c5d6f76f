/** Two ends of a pipe for messages, both ways: a pair of unix sockets that keep messages whole and in order (SOCK_SEQPACKET, unix(7)). */
import { dlopen, FFIType } from "bun:ffi";
import { isErrno, SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_SNDBUFFORCE = 32;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const EMFILE = 24;

const load = () =>
  dlopen("libc.so.6", {
    socketpair: { args: [FFIType.i32, FFIType.i32, FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
  }).symbols;
let calls: ReturnType<typeof load> | undefined;

/** socketPair makes both ends; each holds up to `bufferBytes` of messages that the other end has not read, without CAP_NET_ADMIN no more than net.core.wmem_max. */
export function socketPair(bufferBytes: number): readonly [Fd, Fd] {
  calls ??= load();
  const numbers = stable(8);
  if (calls.socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, numbers) !== 0)
    throw new SystemError("socketpair", EMFILE);
  const view = new DataView(numbers.buffer);
  const ends = [0, 4].map((at) => new Fd(view.getInt32(at, true), "socket pair")) as [Fd, Fd];
  for (const { number } of ends) setBuffer(number, bufferBytes);
  return ends;
}

function setBuffer(fd: number, bytes: number): void {
  try {
    libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, bytes);
  } catch (error) {
    if (!isErrno(error, "EPERM")) throw error;
    libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, bytes);
  }
}

/** sendMessage sends one message, waiting for room. */
export function sendMessage(fd: number, message: Uint8Array<ArrayBuffer>): void {
  libc.send(fd, message, MSG_NOSIGNAL);
}

/** trySendMessage sends one message if there is room for it now; false if not, or if the other end is gone. */
export function trySendMessage(fd: number, message: Uint8Array<ArrayBuffer>): boolean {
  try {
    libc.send(fd, message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return true;
  } catch (error) {
    if (isErrno(error, "EAGAIN", "EPIPE", "ECONNRESET", "ENOBUFS")) return false;
    throw error;
  }
}

/** receiveMessage reads one message into a buffer that is large enough; undefined when none is there, 0 when the other end is gone. */
export function receiveMessage(fd: number, into: Uint8Array<ArrayBuffer>): number | undefined {
  try {
    const count = libc.recv(fd, into, MSG_DONTWAIT);
    return count < 0 ? undefined : count;
  } catch (error) {
    if (isErrno(error, "ECONNRESET")) return 0;
    throw error;
  }
}
