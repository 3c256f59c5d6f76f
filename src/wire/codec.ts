/** Codecs: how one value becomes bytes and back. Scalars here; tables of them in attributes.ts and struct.ts. */
import { type Ip, ipBytes, ipFromBytes, type Mac, macBytes, macFromBytes } from "../net/mod.ts";
import { DecodeError, EncodeError } from "./error.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

/** Codec turns a value into bytes and back. A decoder gets a reader on exactly the bytes of its value. */
export interface Codec<T> {
  /** `siblings` are the fields of the same table that were read before. */
  decode(reader: Reader, siblings?: Readonly<Record<string, unknown>>): T;
  encode(writer: Writer, value: T, siblings?: Readonly<Record<string, unknown>>): void;
  /** Whether the value is made of attributes itself (NLA_F_NESTED). */
  readonly nested?: boolean;
}

/** FixedCodec always has the same number of bytes, so that it can be a field of a structure, where `zero` stands for it when it is left out. */
export interface FixedCodec<T> extends Codec<T> {
  readonly zero: unknown;
}

/** ValueOf is the type that a codec carries. */
export type ValueOf<C> = C extends Codec<infer T> ? T : never;

export const u8: Codec<number> = { decode: (r) => r.u8(), encode: (w, v) => void w.u8(v) };
export const u16: Codec<number> = { decode: (r) => r.u16(), encode: (w, v) => void w.u16(v) };
export const u32: Codec<number> = { decode: (r) => r.u32(), encode: (w, v) => void w.u32(v) };
export const i32: Codec<number> = { decode: (r) => r.i32(), encode: (w, v) => void w.i32(v) };
export const u64: FixedCodec<bigint> = {
  zero: 0n,
  decode: (r) => r.u64(),
  encode: (w, v) => void w.u64(v),
};
export const be16: Codec<number> = { decode: (r) => r.be16(), encode: (w, v) => void w.be16(v) };
export const be32: Codec<number> = { decode: (r) => r.be32(), encode: (w, v) => void w.be32(v) };
export const be64: FixedCodec<bigint> = {
  zero: 0n,
  decode: (r) => r.be64(),
  encode: (w, v) => void w.be64(v),
};

/** bool is a byte that is zero or one. */
export const bool: Codec<boolean> = { decode: (r) => r.u8() !== 0, encode: (w, v) => void w.u8(v ? 1 : 0) };

/** flag is an attribute that says yes by being there; false cannot be sent, leave it out. */
export const flag: Codec<true> = { decode: () => true, encode: () => {} };

/** text is a string ended by a zero byte. */
export const text: Codec<string> = { decode: (r) => r.text(), encode: (w, v) => void w.text(v) };

/** raw is any bytes, as they are. */
export const raw: Codec<Uint8Array<ArrayBuffer>> = {
  decode: (r) => r.bytes(),
  encode: (w, v) => void w.bytes(v),
};

/** latin1 is any bytes, as text of one character for each. */
export const latin1: Codec<string> = {
  decode: (r) => r.latin1(),
  encode: (w, v) => void w.bytes(Buffer.from(v, "latin1")),
};

/** fixed is exactly `length` bytes. */
export function fixed(length: number): Codec<Uint8Array<ArrayBuffer>> {
  return {
    decode: (r) => {
      if (r.remaining !== length) throw new DecodeError(`${length} bytes expected, ${r.remaining} found`);
      return r.bytes();
    },
    encode: (w, v) => {
      if (v.length !== length) throw new EncodeError(`${length} bytes expected, ${v.length} given`);
      w.bytes(v);
    },
  };
}

/** block is a field of `length` bytes in a structure. */
export function block(length: number): FixedCodec<Uint8Array<ArrayBuffer>> {
  return {
    zero: new Uint8Array(length),
    decode: (r) => r.bytes(length),
    encode: fixed(length).encode,
  };
}

/** ip is an address of either family, told apart by its length. */
export const ip: Codec<Ip> = {
  decode: (r) => {
    if (r.remaining === 4) return { family: 4, value: BigInt(r.be32()) };
    if (r.remaining !== 16) throw new DecodeError(`an address has 4 or 16 bytes, not ${r.remaining}`);
    return ipFromBytes(r.bytes());
  },
  encode: (w, v) => void (v.family === 4 ? w.be32(Number(v.value)) : w.bytes(ipBytes(v))),
};

/** mac is an Ethernet address. */
export const mac: Codec<Mac> = {
  decode: (r) => {
    if (r.remaining !== 6) throw new DecodeError(`an Ethernet address has 6 bytes, not ${r.remaining}`);
    return macFromBytes(r.bytes());
  },
  encode: (w, v) => void w.bytes(macBytes(v)),
};

/** ignored is an attribute that is known and not wanted: statistics, copies of what other attributes say. It is never sent. */
export const ignored: Codec<undefined> = { decode: () => undefined, encode: () => {} };
