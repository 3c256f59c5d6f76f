/**
 * The C library by FFI: each symbol wrapped in a typed function that throws SystemError.
 *
 * FFI checks no arguments (`close(undefined)` would close descriptor 0), so nothing outside this file calls a raw symbol.
 */
import { dlopen, type FFIFunction, FFIType, type Library, type Pointer, read } from "bun:ffi";
import { SystemError } from "./errno.ts";
import { cString, stable } from "./memory.ts";

const { i32, u32, ptr, i64_fast, u64_fast } = FFIType;

const O_CLOEXEC = 0o2000000;
const POLLIN = 1;
const POLLOUT = 4;

/** Symbols are bound when first used: binding all of them would cost the CNI plugin a fifth of its time. */
function lazily<T extends Record<string, FFIFunction>>(table: T): Library<T>["symbols"] {
  const symbols = {} as Library<T>["symbols"];
  for (const name of Object.keys(table))
    Object.defineProperty(symbols, name, {
      configurable: true,
      get() {
        const value = dlopen("libc.so.6", { [name]: table[name] as FFIFunction }).symbols[name];
        Object.defineProperty(symbols, name, { value });
        return value;
      },
    });
  return symbols;
}

const libc = lazily({
  __errno_location: { args: [], returns: ptr },
  socket: { args: [i32, i32, i32], returns: i32 },
  bind: { args: [i32, ptr, u32], returns: i32 },
  connect: { args: [i32, ptr, u32], returns: i32 },
  send: { args: [i32, ptr, u64_fast, i32], returns: i64_fast },
  recv: { args: [i32, ptr, u64_fast, i32], returns: i64_fast },
  sendmsg: { args: [i32, ptr, i32], returns: i64_fast },
  recvmsg: { args: [i32, ptr, i32], returns: i64_fast },
  getsockname: { args: [i32, ptr, ptr], returns: i32 },
  getpeername: { args: [i32, ptr, ptr], returns: i32 },
  listen: { args: [i32, i32], returns: i32 },
  getsockopt: { args: [i32, i32, i32, ptr, ptr], returns: i32 },
  setsockopt: { args: [i32, i32, i32, ptr, u32], returns: i32 },
  setns: { args: [i32, i32], returns: i32 },
  unshare: { args: [i32], returns: i32 },
  mount: { args: [ptr, ptr, ptr, u64_fast, ptr], returns: i32 },
  umount2: { args: [ptr, i32], returns: i32 },
  close: { args: [i32], returns: i32 },
  poll: { args: [ptr, u64_fast, i32], returns: i32 },
  ioctl: { args: [i32, u64_fast, ptr], returns: i32 },
  fcntl: { args: [i32, i32, i32], returns: i32 },
  flock: { args: [i32, i32], returns: i32 },
  open: { args: [ptr, i32, i32], returns: i32 },
  readlink: { args: [ptr, ptr, u64_fast], returns: i64_fast },
  read: { args: [i32, ptr, u64_fast], returns: i64_fast },
  write: { args: [i32, ptr, u64_fast], returns: i64_fast },
  clock_gettime: { args: [i32, ptr], returns: i32 },
});

// Known before any call can fail: looking it up could change the number it holds.
const errnoAddress = libc.__errno_location() as Pointer;

function descriptor(fd: number, call: string): number {
  if (!Number.isInteger(fd) || fd < 0) throw new TypeError(`${call}: ${fd} is not a descriptor`);
  return fd;
}

const EINTR = 4;

/** repeated calls again for as long as a signal interrupts; `poll` is never resumed by itself, whatever the handler asks for (signal(7)). */
function repeated(call: () => number): number {
  for (;;) {
    const result = call();
    if (result >= 0 || read.i32(errnoAddress, 0) !== EINTR) return result;
  }
}

/** checked returns a result, or throws for a negative one. */
function checked(result: number, call: string, what?: string): number {
  if (result < 0) throw new SystemError(call, read.i32(errnoAddress, 0), what);
  return result;
}

export function socket(domain: number, type: number, protocol: number): number {
  return checked(libc.socket(domain, type, protocol), "socket");
}

export function bind(fd: number, address: Uint8Array<ArrayBuffer>): void {
  checked(libc.bind(descriptor(fd, "bind"), address, address.length), "bind");
}

export function connect(fd: number, address: Uint8Array<ArrayBuffer>, what?: string): void {
  checked(libc.connect(descriptor(fd, "connect"), address, address.length), "connect", what);
}

/** send sends the whole view as one message and returns the number of bytes taken. */
export function send(fd: number, data: Uint8Array<ArrayBuffer>, flags = 0): number {
  descriptor(fd, "send");
  return checked(
    repeated(() => Number(libc.send(fd, data, data.length, flags))),
    "send",
  );
}

/** recv returns the number of bytes received, or -1 when nothing is there (`EAGAIN`); 0 is the end of a stream. */
export function recv(fd: number, into: Uint8Array<ArrayBuffer>, flags = 0): number {
  for (;;) {
    const count = Number(libc.recv(descriptor(fd, "recv"), into, into.length, flags));
    if (count >= 0) return count;
    const errno = read.i32(errnoAddress, 0);
    if (errno === 11) return -1;
    if (errno !== EINTR) throw new SystemError("recv", errno);
  }
}

/** The address of `msghdr` memory made by sys/fdpass.ts. */
export function sendmsg(fd: number, header: Uint8Array<ArrayBuffer>, flags = 0): number {
  descriptor(fd, "sendmsg");
  return checked(
    repeated(() => Number(libc.sendmsg(fd, header, flags))),
    "sendmsg",
  );
}

export function recvmsg(fd: number, header: Uint8Array<ArrayBuffer>, flags = 0): number {
  descriptor(fd, "recvmsg");
  return checked(
    repeated(() => Number(libc.recvmsg(fd, header, flags))),
    "recvmsg",
  );
}

/** getsockname returns the bound address as raw `sockaddr` bytes. */
export function getsockname(fd: number): Uint8Array<ArrayBuffer> {
  const address = stable(128);
  const length = new Uint32Array(new ArrayBuffer(4));
  length[0] = address.length;
  checked(libc.getsockname(descriptor(fd, "getsockname"), address, length), "getsockname");
  return address.slice(0, length[0]);
}

/** getpeername returns the address of the other end as raw `sockaddr` bytes; ENOTCONN while there is none. */
export function getpeername(fd: number): Uint8Array<ArrayBuffer> {
  const address = stable(128);
  const length = new Uint32Array(new ArrayBuffer(4));
  length[0] = address.length;
  checked(libc.getpeername(descriptor(fd, "getpeername"), address, length), "getpeername");
  return address.slice(0, length[0]);
}

export function listen(fd: number, backlog: number): void {
  checked(libc.listen(descriptor(fd, "listen"), backlog), "listen");
}

export function getsockopt(
  fd: number,
  level: number,
  option: number,
  length: number,
): Uint8Array<ArrayBuffer> {
  const value = stable(length);
  const size = new Uint32Array(new ArrayBuffer(4));
  size[0] = length;
  checked(libc.getsockopt(descriptor(fd, "getsockopt"), level, option, value, size), "getsockopt");
  return value.slice(0, size[0]);
}

export function setsockopt(
  fd: number,
  level: number,
  option: number,
  value: number | Uint8Array<ArrayBuffer>,
): void {
  let bytes: Uint8Array<ArrayBuffer>;
  if (typeof value === "number") {
    bytes = stable(4);
    new DataView(bytes.buffer).setInt32(0, value, true);
  } else {
    bytes = value;
  }
  checked(libc.setsockopt(descriptor(fd, "setsockopt"), level, option, bytes, bytes.length), "setsockopt");
}

export function setns(fd: number, type: number): void {
  checked(libc.setns(descriptor(fd, "setns"), type), "setns");
}

export function unshare(flags: number): void {
  checked(libc.unshare(flags), "unshare");
}

export function mount(source: string, target: string, type: string, flags: number, data?: string): void {
  const result = libc.mount(
    cString(source),
    cString(target),
    cString(type),
    flags,
    data === undefined ? null : cString(data),
  );
  checked(result, "mount", target);
}

export function umount(target: string, flags = 0): void {
  checked(libc.umount2(cString(target), flags), "umount", target);
}

export function close(fd: number): void {
  checked(libc.close(descriptor(fd, "close")), "close");
}

/** poll waits until the descriptor is readable; false when `timeoutMs` passed first. */
export function pollReadable(fd: number, timeoutMs: number): boolean {
  return pollFor(fd, POLLIN, timeoutMs);
}

/** pollWritable waits until something can be written, or an error be told; false when `timeoutMs` passed first. */
export function pollWritable(fd: number, timeoutMs: number): boolean {
  return pollFor(fd, POLLOUT, timeoutMs);
}

function pollFor(fd: number, events: number, timeoutMs: number): boolean {
  const request = stable(8);
  const view = new DataView(request.buffer);
  view.setInt32(0, descriptor(fd, "poll"), true);
  view.setInt16(4, events, true);
  return (
    checked(
      repeated(() => libc.poll(request, 1, timeoutMs)),
      "poll",
    ) > 0
  );
}

/** pollSeveral waits until one of the descriptors is readable, and returns those that are; -1 waits without end. */
export function pollSeveral(fds: readonly number[], timeoutMs: number): number[] {
  const request = stable(8 * fds.length);
  const view = new DataView(request.buffer);
  for (const [index, fd] of fds.entries()) {
    view.setInt32(8 * index, descriptor(fd, "poll"), true);
    view.setInt16(8 * index + 4, 1, true);
  }
  checked(
    repeated(() => libc.poll(request, fds.length, timeoutMs)),
    "poll",
  );
  return fds.filter((_, index) => view.getInt16(8 * index + 6, true) !== 0);
}

/** ioctl passes a buffer that the kernel reads or writes. */
export function ioctl(fd: number, request: number, data: Uint8Array<ArrayBuffer>): number {
  return checked(libc.ioctl(descriptor(fd, "ioctl"), request, data), "ioctl");
}

/** ioctlValue passes a number where other requests have an address. */
export function ioctlValue(fd: number, request: number, value: number): number {
  return checked(libc.ioctl(descriptor(fd, "ioctl"), request, value as Pointer), "ioctl");
}

export function fcntl(fd: number, command: number, value: number): number {
  return checked(libc.fcntl(descriptor(fd, "fcntl"), command, value), "fcntl");
}

/** flock takes or gives back the lock of an open file (flock(2)); EAGAIN where another has it and it is not waited for. */
export function flock(fd: number, operation: number): void {
  checked(libc.flock(descriptor(fd, "flock"), operation), "flock");
}

/** open opens a file by path; always close-on-exec. */
export function open(path: string, flags = 0): number {
  return checked(libc.open(cString(path), flags | O_CLOEXEC, 0), "open", path);
}

/** readlink returns what a symbolic link holds. */
export function readlink(path: string): string {
  const into = stable(4096);
  const length = checked(Number(libc.readlink(cString(path), into, into.length)), "readlink", path);
  return new TextDecoder().decode(into.subarray(0, length));
}

/** read returns the number of bytes read; 0 is the end. */
export function readInto(fd: number, into: Uint8Array<ArrayBuffer>): number {
  return checked(Number(libc.read(descriptor(fd, "read"), into, into.length)), "read");
}

// struct timespec
const timespec = stable(16);
const timespecView = new DataView(timespec.buffer);

/** clockMs returns the milliseconds of a clock of clock_gettime(2). */
export function clockMs(clock: number): number {
  checked(libc.clock_gettime(clock, timespec), "clock_gettime");
  const seconds = timespecView.getUint32(0, true) + timespecView.getInt32(4, true) * 2 ** 32;
  return seconds * 1000 + timespecView.getUint32(8, true) / 1e6;
}

/** writeFrom returns the number of bytes written. */
export function writeFrom(fd: number, data: Uint8Array<ArrayBuffer>): number {
  return checked(Number(libc.write(descriptor(fd, "write"), data, data.length)), "write");
}
