import { describe, expect, test } from "bun:test";
import { DecodeError, EncodeError, Reader, Writer } from "./mod.ts";

describe("reader", () => {
  test("every read past the end is an error and moves nothing", () => {
    const reads: ((reader: Reader) => unknown)[] = [
      (r) => r.u8(),
      (r) => r.u16(),
      (r) => r.u32(),
      (r) => r.i32(),
      (r) => r.u64(),
      (r) => r.i64(),
      (r) => r.be16(),
      (r) => r.be32(),
      (r) => r.be64(),
      (r) => r.bytes(1),
      (r) => r.skip(1),
      (r) => r.sub(1),
    ];
    for (const read of reads) {
      const reader = new Reader(new Uint8Array(16), 4, 4);
      expect(() => read(reader)).toThrow(DecodeError);
      expect(reader.remaining).toBe(0);
    }
    expect(() => new Reader(new Uint8Array(4)).bytes(-1)).toThrow(DecodeError);
    expect(() => new Reader(new Uint8Array(4), 0, 5)).toThrow(DecodeError);
  });

  test("bytes are copies, text ends at a zero byte or at the window's end", () => {
    const source = new Uint8Array([104, 105, 0, 120]);
    const copy = new Reader(source).bytes();
    source[0] = 0;
    expect(copy[0]).toBe(104);
    expect(new Reader(copy).text()).toBe("hi");
    expect(new Reader(copy, 0, 1).text()).toBe("h");
    expect(new Reader(new TextEncoder().encode("grün\0")).text()).toBe("grün");
  });

  test("a reader works on a part of a larger buffer", () => {
    const whole = new Uint8Array([9, 9, 1, 0, 0, 0, 9]);
    expect(new Reader(whole.subarray(2, 6)).u32()).toBe(1);
    const reader = new Reader(whole, 2, 6);
    const part = reader.sub(2);
    expect([part.u16(), part.remaining, reader.remaining]).toEqual([1, 0, 2]);
  });
});

describe("writer", () => {
  test("numbers that do not fit are refused", () => {
    const writer = new Writer();
    expect(() => writer.u8(-1)).toThrow(EncodeError);
    expect(() => writer.u16(65536)).toThrow(EncodeError);
    expect(() => writer.u32(2 ** 32)).toThrow(EncodeError);
    expect(() => writer.u32(0.5)).toThrow(EncodeError);
    expect(() => writer.u32(Number.NaN)).toThrow(EncodeError);
    expect(() => writer.i32(2 ** 31)).toThrow(EncodeError);
    expect(() => writer.u64(-1n)).toThrow(EncodeError);
    expect(() => writer.i64(1n << 63n)).toThrow(EncodeError);
    expect(() => writer.setU16(0, 1)).toThrow(EncodeError);
    expect(writer.length).toBe(0);
  });

  test("it grows, aligns and can be wiped", () => {
    const writer = new Writer();
    for (let i = 0; i < 1000; i++) writer.u8(i & 255);
    writer.u8(1).align(4);
    expect(writer.length).toBe(1004);
    const bytes = writer.finish();
    expect([...bytes.subarray(998)]).toEqual([998 & 255, 999 & 255, 1, 0, 0, 0]);
    writer.wipe();
    expect(writer.length).toBe(0);
    expect(bytes[1000]).toBe(1);
  });
});
