/**
 * The Internet checksum (RFC 1071) over an arena: by vectors in WebAssembly, else in TypeScript.
 *
 * Sums are 16-bit one's complement sums of words as the machine reads them (little-endian), not yet complemented. Sums of parts that begin
 * at even places are added, folded, complemented, and stored as they are.
 */
import type { Arena } from "../../sys/mod.ts";
import { checksumCode } from "./checksum-code.ts";

/** Checksum adds over one arena; a place outside throws. */
export interface Checksum {
  /** What runs it, for people. */
  readonly name: "WebAssembly" | "TypeScript";
  /** sum returns the folded sum of [at, at + length). */
  sum(at: number, length: number): number;
  /** copySum copies [from, from + length) to `to` and returns its folded sum. The two must not overlap. */
  copySum(to: number, from: number, length: number): number;
}

/** checksumOf returns the fastest that runs here. */
export function checksumOf(arena: Arena): Checksum {
  try {
    return wasmChecksum(arena);
  } catch (error) {
    // A runtime without vectors, or processors without AVX.
    if (error instanceof WebAssembly.CompileError) return slowChecksum(arena);
    throw error;
  }
}

/** wasmChecksum throws WebAssembly.CompileError where the runtime has no vectors. */
export function wasmChecksum(arena: Arena): Checksum {
  const module = new WebAssembly.Module(checksumCode());
  const { exports } = new WebAssembly.Instance(module, { env: { memory: arena.memory } });
  const { sum, copySum } = exports as unknown as Pick<Checksum, "sum" | "copySum">;
  return { name: "WebAssembly", sum, copySum };
}

/** slowChecksum needs nothing but the language. */
export function slowChecksum(arena: Arena): Checksum {
  const { u8, view } = arena;
  const sum = (at: number, length: number) => {
    arena.check(at, length);
    const end = at + length;
    let total = 0;
    let i = at;
    for (; i + 4 <= end; i += 4) {
      // A double holds 53 bits exactly: 2 million words do not run over.
      total += view.getUint32(i, true);
    }
    if (i + 2 <= end) {
      total += view.getUint16(i, true);
      i += 2;
    }
    if (i < end) total += u8[i] as number;
    return fold((total % 65536) + Math.floor(total / 65536));
  };
  return {
    name: "TypeScript",
    sum,
    copySum(to, from, length) {
      arena.check(to, length);
      arena.check(from, length);
      u8.copyWithin(to, from, from + length);
      return sum(to, length);
    },
  };
}

/** fold adds the carries of a sum of up to 2^36 back in, until 16 bits are left. */
export function fold(total: number): number {
  let rest = total;
  while (rest > 0xffff) rest = (rest % 65536) + Math.floor(rest / 65536);
  return rest;
}

/** fold32 does what `fold` does for a sum below 2^31, faster. */
export function fold32(total: number): number {
  const once = (total & 0xffff) + (total >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** swap16 turns a 16-bit number into the word that the machine reads when it is in network order. */
export function swap16(value: number): number {
  return ((value & 0xff) << 8) | ((value >>> 8) & 0xff);
}
