/**
 * Reads values one after another from a window of bytes; every step is checked against the window's end.
 *
 * Host order is little-endian: Bun runs on no other machine.
 */
import { DecodeError } from "./error.ts";

/** Reader is a window on bytes with a position. It never reads outside its window: it throws DecodeError. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length, view?: DataView) {
    if (start < 0 || end > bytes.length || start > end) throw new DecodeError("window outside of the bytes");
    this.#bytes = bytes;
    this.#view = view ?? new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = start;
    this.#end = end;
  }

  /** Bytes that are left in the window. */
  get remaining(): number {
    return this.#end - this.#at;
  }

  #take(length: number): number {
    const at = this.#at;
    if (length < 0 || length > this.#end - at)
      throw new DecodeError(`${length} bytes needed, ${this.#end - at} left`);
    this.#at = at + length;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8), true);
  }

  be16(): number {
    return this.#view.getUint16(this.#take(2), false);
  }

  be32(): number {
    return this.#view.getUint32(this.#take(4), false);
  }

  be64(): bigint {
    return this.#view.getBigUint64(this.#take(8), false);
  }

  /** bytes returns a copy of the next bytes; without a length, of all that are left. */
  bytes(length = this.remaining): Uint8Array<ArrayBuffer> {
    const at = this.#take(length);
    const copy = new Uint8Array(new ArrayBuffer(length));
    for (let i = 0; i < length; i++) copy[i] = this.#bytes[at + i] as number;
    return copy;
  }

  /** text returns the rest of the window as UTF-8, up to its first zero byte. */
  text(): string {
    const start = this.#at;
    let end = start;
    while (end < this.#end && this.#bytes[end] !== 0) end++;
    this.#at = this.#end;
    return decodeText(this.#bytes, start, end);
  }

  /** latin1 returns the rest of the window as text of one character for each byte, which finds the same bytes again in a map. */
  latin1(): string {
    const { buffer, byteOffset } = this.#bytes;
    const start = this.#take(this.remaining);
    return Buffer.from(buffer, byteOffset + start, this.#end - start).toString("latin1");
  }

  skip(length: number): void {
    this.#take(length);
  }

  /** skipPadding moves over at most `length` bytes of padding; fewer may be left at the end of a message. */
  skipPadding(length: number): void {
    this.#at = Math.min(this.#end, this.#at + length);
  }

  /** copy returns a reader of its own on what is left, for a look ahead. */
  copy(): Reader {
    return new Reader(this.#bytes, this.#at, this.#end, this.#view);
  }

  /** enter narrows the window to the next bytes; `leave` with what it returns moves past them, however many of them were read. */
  enter(length: number): number {
    const outer = this.#end;
    this.#at = this.#take(length);
    this.#end = this.#at + length;
    return outer;
  }

  /** leave is the reverse of enter. */
  leave(outer: number): void {
    this.#at = this.#end;
    this.#end = outer;
  }

  /** sub returns a reader on the next bytes and moves past them. */
  sub(length: number): Reader {
    const at = this.#take(length);
    return new Reader(this.#bytes, at, at + length, this.#view);
  }
}

const utf8 = new TextDecoder();

function decodeText(bytes: Uint8Array, start: number, end: number): string {
  // Names are short and ASCII; this is three times as fast as TextDecoder for them.
  let text = "";
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte > 127) return utf8.decode(bytes.subarray(start, end));
    text += String.fromCharCode(byte);
  }
  return text;
}
