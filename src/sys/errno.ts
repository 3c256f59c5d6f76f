/**
 * Names of Linux error numbers, and the one error type that system calls throw.
 */
import { constants } from "node:os";

// Two names of one number: the one that the kernel's documentation prefers.
const names = new Map<number, string>(
  Object.entries(constants.errno)
    .filter(([name]) => name !== "EWOULDBLOCK" && name !== "ENOTSUP")
    .map(([name, number]) => [number, name]),
);

// Not in the runtime's table: what a TUN queue says when its device was removed (drivers/net/tun.c; include/uapi/asm-generic/errno.h).
names.set(77, "EBADFD");

const texts: Record<string, string> = {
  EPERM: "operation not permitted",
  ENOENT: "no such file or directory",
  ESRCH: "no such process or entry",
  EINTR: "interrupted system call",
  EIO: "input/output error",
  ENXIO: "no such device or address",
  EBADF: "bad file descriptor",
  EBADFD: "the device was removed",
  EAGAIN: "resource temporarily unavailable",
  ENOMEM: "out of memory",
  EACCES: "permission denied",
  EFAULT: "bad address",
  EBUSY: "device or resource busy",
  EEXIST: "already exists",
  ENODEV: "no such device",
  ENOTDIR: "not a directory",
  EISDIR: "is a directory",
  EINVAL: "invalid argument",
  EMFILE: "too many open files",
  ENOSPC: "no space left",
  EPIPE: "broken pipe",
  ERANGE: "result out of range",
  ENOTEMPTY: "not empty",
  ENOTSOCK: "not a socket",
  EMSGSIZE: "message too long",
  EOPNOTSUPP: "operation not supported by this kernel or device",
  EAFNOSUPPORT: "address family not supported by this kernel",
  EADDRINUSE: "address already in use",
  EADDRNOTAVAIL: "address not available",
  ENETDOWN: "network is down",
  ENETUNREACH: "network is unreachable",
  ENOBUFS: "no buffer space available",
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  ETIMEDOUT: "timed out",
  EHOSTUNREACH: "no route to host",
};

/** errnoName returns the symbolic name of a positive error number, such as `EEXIST` for 17. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/** errnoText returns a short lower-case sentence for a positive error number. */
export function errnoText(errno: number): string {
  const name = errnoName(errno);
  return texts[name] ?? name;
}

/** SystemError says which call failed, on what, and with which error number. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  readonly call: string;
  readonly errno: number;
  /** Symbolic name of the error number, as Node.js calls it: `ENOENT`. */
  readonly code: string;

  constructor(call: string, errno: number, what?: string) {
    super(`${call}${what === undefined ? "" : ` ${what}`}: ${errnoText(errno)} (${errnoName(errno)})`);
    this.call = call;
    this.errno = errno;
    this.code = errnoName(errno);
  }
}

/** isErrno tells whether an error is one of the named system errors, ours or Node.js's. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
