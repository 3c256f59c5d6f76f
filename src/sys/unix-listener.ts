/** Unix stream sockets, the server's side, for a loop of its own that waits with poll(2): nothing here waits. */
import { dlopen, FFIType } from "bun:ffi";
import { chmodSync, rmSync } from "node:fs";
import { isErrno, SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { connectUnix, timeval, unixAddress } from "./unix.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const F_GETFL = 3;
const F_SETFL = 4;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const BACKLOG = 128;
const EADDRINUSE = 98;
const EINVAL = 22;
const ENOTCONN = 107;
const SHUT_RD = 0;

const { i32, ptr } = FFIType;
const load = () =>
  dlopen("libc.so.6", {
    listen: { args: [i32, i32], returns: i32 },
    accept4: { args: [i32, ptr, ptr, i32], returns: i32 },
    shutdown: { args: [i32, i32], returns: i32 },
  }).symbols;
let calls: ReturnType<typeof load> | undefined;

/**
 * bindUnix binds a socket to a path that only its owner may use; `serveUnix` makes it listen. A file that nobody listens on is replaced;
 * EADDRINUSE if somebody does.
 */
export function bindUnix(path: string): Fd {
  try {
    connectUnix(path, { timeoutMs: 1000 }).close();
    throw new SystemError("bind", EADDRINUSE, path);
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ECONNREFUSED")) throw error;
    rmSync(path, { force: true });
  }
  const socket = new Fd(
    libc.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
    `socket ${path}`,
  );
  try {
    libc.bind(socket.number, unixAddress(path));
    // Before anybody can connect.
    chmodSync(path, 0o600);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** serveUnix makes this process the one that listens: clients see it by SO_PEERCRED from now on, also on a socket that was inherited. */
export function serveUnix(socket: number): void {
  calls ??= load();
  if (calls.listen(socket, BACKLOG) !== 0) throw new SystemError("listen", EINVAL);
}

/** acceptUnix returns the next client that waits; undefined when none does, or there is no room for one (EMFILE). */
export function acceptUnix(socket: number): Fd | undefined {
  calls ??= load();
  const number = calls.accept4(socket, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return number < 0 ? undefined : new Fd(number, "client");
}

/** waitAtMost makes reads and writes of a connection wait, but not for ever: EAGAIN after so long. */
export function waitAtMost(socket: number, ms: number): void {
  libc.fcntl(socket, F_SETFL, libc.fcntl(socket, F_GETFL, 0) & ~SOCK_NONBLOCK);
  for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) libc.setsockopt(socket, SOL_SOCKET, option, timeval(ms));
}

/** endReceiving makes all that the other end sends from now on fail there (EPIPE); what it sent before can still be read. */
export function endReceiving(socket: number): void {
  calls ??= load();
  if (calls.shutdown(socket, SHUT_RD) !== 0) throw new SystemError("shutdown", ENOTCONN);
}

/** tryReceive reads what is there: a count, 0 at the end of the stream, undefined when nothing is. */
export function tryReceive(socket: number, into: Uint8Array<ArrayBuffer>): number | undefined {
  try {
    const count = libc.recv(socket, into, MSG_DONTWAIT);
    return count < 0 ? undefined : count;
  } catch (error) {
    if (isErrno(error, "ECONNRESET")) return 0;
    throw error;
  }
}

/** trySend sends what there is room for and returns how much that was; undefined when the other end is gone. */
export function trySend(socket: number, data: Uint8Array<ArrayBuffer>): number | undefined {
  try {
    return libc.send(socket, data, MSG_DONTWAIT | MSG_NOSIGNAL);
  } catch (error) {
    if (isErrno(error, "EAGAIN")) return 0;
    if (isErrno(error, "EPIPE", "ECONNRESET")) return undefined;
    throw error;
  }
}
