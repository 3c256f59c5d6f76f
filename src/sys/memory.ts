/**
 * Memory whose address may be handed to the kernel or to a library.
 *
 * A small typed array may move when its `.buffer` is touched; one made over an explicit ArrayBuffer never does.
 * Every buffer whose address is stored (iovec, msghdr) must come from here, and must be referenced while in use.
 */
import { ptr } from "bun:ffi";

/** stable returns a zeroed buffer of `length` bytes whose address never changes. */
export function stable(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length));
}

/** cString returns the text as stable memory, ended by a zero byte. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(text);
  const out = stable(bytes.length + 1);
  out.set(bytes);
  return out;
}

/** addressOf returns the address of a stable buffer; it is valid only while the buffer is referenced. */
export function addressOf(buffer: Uint8Array<ArrayBuffer>): number {
  return ptr(buffer);
}
