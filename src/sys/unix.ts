/**
 * Unix stream sockets, the client's side: synchronous, for programs that ask one question and end.
 *
 * This file and what it imports are all that the CNI plugin loads of `sys`; keep it light.
 */
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const MSG_NOSIGNAL = 0x4000;
/** `sun_path` has 108 bytes, the last one zero. */
const LONGEST_PATH = 107;

/** PeerCredentials is who connected, as the kernel saw it at connect (unix(7), SO_PEERCRED). */
export interface PeerCredentials {
  /** 0 when the peer lives in a PID namespace that we cannot see into. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** unixAddress returns the `sockaddr_un` of a path; RangeError when it is too long for one. */
export function unixAddress(path: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length > LONGEST_PATH)
    throw new RangeError(
      `Cannot use socket ${path}: its path is too long, ${LONGEST_PATH} bytes is the limit`,
    );
  const address = stable(2 + bytes.length + 1);
  address[0] = AF_UNIX;
  address.set(bytes, 2);
  return address;
}

/**
 * connectUnix connects to a listening socket; throws ENOENT or ECONNREFUSED when nobody listens. With `timeoutMs`, connecting (to a
 * server whose queue is full), sending and receiving give up after that silence with EAGAIN; without it they wait for ever.
 */
export function connectUnix(path: string, options: { readonly timeoutMs?: number } = {}): Fd {
  const socket = new Fd(libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), `connection to ${path}`);
  try {
    if (options.timeoutMs !== undefined) {
      const limit = timeval(options.timeoutMs);
      libc.setsockopt(socket.number, SOL_SOCKET, SO_RCVTIMEO, limit);
      libc.setsockopt(socket.number, SOL_SOCKET, SO_SNDTIMEO, limit);
    }
    libc.connect(socket.number, unixAddress(path), path);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** timeval returns a `struct timeval`. */
export function timeval(ms: number): Uint8Array<ArrayBuffer> {
  const value = stable(16);
  const view = new DataView(value.buffer);
  view.setBigInt64(0, BigInt(Math.floor(ms / 1000)), true);
  view.setBigInt64(8, BigInt((ms % 1000) * 1000), true);
  return value;
}

/** sendAll sends all bytes on a blocking socket; throws EPIPE when the other side is gone, without a signal. */
export function sendAll(socket: Fd, data: Uint8Array<ArrayBuffer>): void {
  for (let sent = 0; sent < data.length;) sent += libc.send(socket.number, data.subarray(sent), MSG_NOSIGNAL);
}

/**
 * receiveLine reads up to a line feed and returns the line without it; undefined when the stream ended or `timeoutMs` passed
 * between two reads. Reads past the line feed are lost: for protocols of one answer.
 */
export function receiveLine(socket: Fd, timeoutMs: number): string | undefined {
  const parts: Uint8Array[] = [];
  for (;;) {
    if (!libc.pollReadable(socket.number, timeoutMs)) return undefined;
    const chunk = stable(16384);
    const count = libc.recv(socket.number, chunk);
    if (count <= 0) return undefined;
    const end = chunk.subarray(0, count).indexOf(10);
    parts.push(chunk.subarray(0, end < 0 ? count : end));
    if (end >= 0) return Buffer.concat(parts).toString("utf8");
  }
}

/** peerCredentials returns who is at the other end of a connected socket. */
export function peerCredentials(socket: number): PeerCredentials {
  const view = new DataView(libc.getsockopt(socket, SOL_SOCKET, SO_PEERCRED, 12).buffer);
  return { pid: view.getInt32(0, true), uid: view.getUint32(4, true), gid: view.getUint32(8, true) };
}
