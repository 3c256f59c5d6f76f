/** Writes values one after another into a buffer that grows; numbers that do not fit their field throw EncodeError. */
import { EncodeError } from "./error.ts";

function checkRange(value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most)
    throw new EncodeError(`${value} is not an integer from ${least} to ${most}`);
}

/** Writer collects bytes; `finish` returns them. */
export class Writer {
  #bytes = new Uint8Array(new ArrayBuffer(256));
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  #grow(length: number): number {
    const at = this.#length;
    const needed = at + length;
    if (needed > this.#bytes.length) {
      const bigger = new Uint8Array(new ArrayBuffer(Math.max(needed, this.#bytes.length * 2)));
      bigger.set(this.#bytes.subarray(0, at));
      // What was written may be a key; do not leave copies behind.
      this.#bytes.fill(0);
      this.#bytes = bigger;
      this.#view = new DataView(bigger.buffer);
    }
    this.#length = needed;
    return at;
  }

  u8(value: number): this {
    checkRange(value, 0, 0xff);
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    checkRange(value, 0, 0xffff);
    const at = this.#grow(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    checkRange(value, 0, 0xffffffff);
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  i32(value: number): this {
    checkRange(value, -0x80000000, 0x7fffffff);
    const at = this.#grow(4);
    this.#view.setInt32(at, value, true);
    return this;
  }

  u64(value: bigint): this {
    if (value < 0n || value >> 64n !== 0n) throw new EncodeError(`${value} does not fit 64 bits`);
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value, true);
    return this;
  }

  i64(value: bigint): this {
    if (BigInt.asIntN(64, value) !== value) throw new EncodeError(`${value} does not fit 64 bits`);
    const at = this.#grow(8);
    this.#view.setBigInt64(at, value, true);
    return this;
  }

  be16(value: number): this {
    checkRange(value, 0, 0xffff);
    const at = this.#grow(2);
    this.#view.setUint16(at, value, false);
    return this;
  }

  be32(value: number): this {
    checkRange(value, 0, 0xffffffff);
    const at = this.#grow(4);
    this.#view.setUint32(at, value, false);
    return this;
  }

  be64(value: bigint): this {
    if (value < 0n || value >> 64n !== 0n) throw new EncodeError(`${value} does not fit 64 bits`);
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value, false);
    return this;
  }

  bytes(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** zeros writes padding. */
  zeros(length: number): this {
    this.#grow(length);
    return this;
  }

  /** text writes UTF-8 and a zero byte; text with a zero byte in it is refused. */
  text(value: string): this {
    if (value.includes("\0")) throw new EncodeError("text has a zero byte in it");
    this.bytes(utf8.encode(value));
    return this.zeros(1);
  }

  /** align writes zero bytes up to the next multiple. */
  align(multiple: number): this {
    return this.zeros((multiple - (this.#length % multiple)) % multiple);
  }

  /** setU16 overwrites a field that was written before, such as a length that is now known. */
  setU16(at: number, value: number): void {
    checkRange(value, 0, 0xffff);
    if (at < 0 || at + 2 > this.#length) throw new EncodeError(`nothing was written at ${at}`);
    this.#view.setUint16(at, value, true);
  }

  setU32(at: number, value: number): void {
    checkRange(value, 0, 0xffffffff);
    if (at < 0 || at + 4 > this.#length) throw new EncodeError(`nothing was written at ${at}`);
    this.#view.setUint32(at, value, true);
  }

  /** finish returns a copy of what was written, at an address that does not move. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  /** wipe overwrites what was written with zeros. */
  wipe(): void {
    this.#bytes.fill(0, 0, this.#length);
    this.#length = 0;
  }
}

const utf8 = new TextEncoder();
