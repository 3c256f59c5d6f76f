/**
 * Descriptors in messages on unix sockets (SCM_RIGHTS, unix(7)): how one process hands another an open file.
 *
 * Layouts are those of 64-bit Linux (include/linux/socket.h): `msghdr` 56 bytes, `cmsghdr` 16 bytes before its data.
 */
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { addressOf, stable } from "./memory.ts";

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const HEADER = 16;
/** Room for descriptors in one message; the kernel closes what does not fit, and says so. */
const MOST = 4;

/** message keeps the memory of one `msghdr` together: all parts must live while the kernel uses them. */
function message(data: Uint8Array<ArrayBuffer>, control: Uint8Array<ArrayBuffer>) {
  const vector = stable(16);
  const vectorView = new DataView(vector.buffer);
  vectorView.setBigUint64(0, BigInt(addressOf(data)), true);
  vectorView.setBigUint64(8, BigInt(data.length), true);
  const header = stable(56);
  const view = new DataView(header.buffer);
  view.setBigUint64(16, BigInt(addressOf(vector)), true);
  view.setBigUint64(24, 1n, true);
  if (control.length > 0) view.setBigUint64(32, BigInt(addressOf(control)), true);
  view.setBigUint64(40, BigInt(control.length), true);
  return { header, view, vector, data, control };
}

/**
 * sendWithDescriptor sends bytes, with the descriptor attached to the first of them, and returns how many bytes were taken;
 * the rest can follow by plain `send`. The receiver gets a descriptor of its own; ours stays open.
 */
export function sendWithDescriptor(
  socket: number,
  data: Uint8Array<ArrayBuffer>,
  descriptor: number,
): number {
  const control = stable(HEADER + 8);
  const view = new DataView(control.buffer);
  view.setBigUint64(0, BigInt(HEADER + 4), true);
  view.setInt32(8, SOL_SOCKET, true);
  view.setInt32(12, SCM_RIGHTS, true);
  view.setInt32(16, descriptor, true);
  const sent = message(data, control);
  return libc.sendmsg(socket, sent.header, MSG_NOSIGNAL);
}

/** DescriptorError says that descriptors were lost: too many in one message, or no room in this process (EMFILE, unix(7)). */
export class DescriptorError extends Error {
  override readonly name = "DescriptorError";
}

/** Received is what one read of a socket brought. */
export interface Received {
  /** 0 is the end of the stream. */
  readonly length: number;
  /** Descriptors that came with it, close-on-exec; the caller owns them. */
  readonly descriptors: readonly Fd[];
}

/** receiveWithDescriptors reads once, without waiting; undefined when nothing is there. */
export function receiveWithDescriptors(socket: number, into: Uint8Array<ArrayBuffer>): Received | undefined {
  const control = stable(HEADER + 4 * MOST);
  const received = message(into, control);
  let length: number;
  try {
    length = libc.recvmsg(socket, received.header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } catch (error) {
    if (isErrno(error, "EAGAIN")) return undefined;
    throw error;
  }
  const descriptors = parseControl(control.subarray(0, Number(received.view.getBigUint64(40, true))));
  if ((received.view.getInt32(48, true) & MSG_CTRUNC) !== 0) {
    for (const descriptor of descriptors) descriptor.close();
    throw new DescriptorError(
      `Cannot receive descriptors: a message carries more than ${MOST}, or this process has no room for them`,
    );
  }
  return { length, descriptors };
}

function parseControl(control: Uint8Array<ArrayBuffer>): Fd[] {
  const view = new DataView(control.buffer, 0, control.length);
  const found: Fd[] = [];
  for (let at = 0; at + HEADER <= control.length;) {
    const length = Number(view.getBigUint64(at, true));
    if (length < HEADER || at + length > control.length) break;
    if (view.getInt32(at + 8, true) === SOL_SOCKET && view.getInt32(at + 12, true) === SCM_RIGHTS)
      for (let data = at + HEADER; data + 4 <= at + length; data += 4)
        found.push(new Fd(view.getInt32(data, true), "received descriptor"));
    at += (length + 7) & ~7; // CMSG_ALIGN
  }
  return found;
}
