/**
 * The search of tags.ts as WebAssembly: mac1 of one message under four keys at a time, one in each lane of a vector.
 *
 * ```
 *   0  message: two blocks of 64 bytes │ 128  word of mac1 that is looked for │ 256  group 0 │ 384  group 1 │ …
 *   group:  word 0 of the states of four keys │ word 1 │ … │ word 7                                  128 bytes
 * ```
 * `search(at, end)` returns the first group in [at, end) with a match, plus a bit for each lane that matches; 0 if there is none.
 */
import {
  assemble,
  block,
  branch,
  branchIf,
  type Code,
  i32,
  localGet,
  localSet,
  loop,
  v128,
} from "../path/wasm-assembler.ts";
import { BLOCK_BYTES, IV, MIXES, SIGMA } from "./blake2s-state.ts";

/** TAGS are the places in the memory. */
export const TAGS = { message: 0, wanted: 128, groups: 256, groupBytes: 128 } as const;

/** An initiation up to its mac1, and before it the block of the key, which the states have taken in. */
const COVERED_BYTES = 116;

const RETURN = 0x0f;
const I32_OR = 0x72;
const I32_EQZ = 0x45;
/** Vector instructions that others do not need (WebAssembly Core Specification 2.0, section 5.4.8). */
const loadSplat = (address: number): Code => [i32.const(0), 0xfd, 0x09, 0, ...leb(address)];
const splat = (value: number): Code => [i32.const(value), 0xfd, 0x11];
const xor: Code = [0xfd, 0x51];
const or: Code = [0xfd, 0x50];
const shiftLeft = (bits: number): Code => [i32.const(bits), 0xfd, ...leb(0xab)];
const shiftRight = (bits: number): Code => [i32.const(bits), 0xfd, ...leb(0xad)];
const equal32: Code = [0xfd, 0x37];
const bitmask32: Code = [0xfd, ...leb(0xa4)];
/** Takes the bytes of each lane round: byte i of the result is byte i + by of the lane. */
const roundBytes = (by: number): Code => [
  0xfd,
  0x0d,
  ...Array.from({ length: 16 }, (_, i) => (i & ~3) + ((i + by) & 3)),
];

function leb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)];
}

/** Locals: at, end, 16 words of the working state, 8 of the hash, one for what is turned. */
const [AT, END, MASK, V] = [0, 1, 2, 3];
const H = V + 16;
const T = H + 8;
const v = (i: number) => localGet(V + i);
const setV = (i: number) => localSet(V + i);

const turned = (x: number, y: number, bits: number): Code => {
  const mixed: Code = [v(x), v(y), xor];
  if (bits % 8 === 0) return [mixed, localSet(T), localGet(T), localGet(T), roundBytes(bits / 8)];
  return [mixed, localSet(T), localGet(T), shiftRight(bits), localGet(T), shiftLeft(32 - bits), or];
};

function mix([a, b, c, d]: readonly number[], first: Code, second: Code): Code {
  const [A, B, C, D] = [a, b, c, d] as [number, number, number, number];
  return [
    [v(A), v(B), v128.add32, first, v128.add32, setV(A)],
    [turned(D, A, 16), setV(D), v(C), v(D), v128.add32, setV(C), turned(B, C, 12), setV(B)],
    [v(A), v(B), v128.add32, second, v128.add32, setV(A)],
    [turned(D, A, 8), setV(D), v(C), v(D), v128.add32, setV(C), turned(B, C, 7), setV(B)],
  ];
}

function rounds(message: number): Code {
  return SIGMA.map((sigma) =>
    MIXES.map((words, i) =>
      mix(
        words,
        loadSplat(message + 4 * (sigma[2 * i] as number)),
        loadSplat(message + 4 * (sigma[2 * i + 1] as number)),
      ),
    ),
  );
}

/** The working state begins with the hash, the initial values, how many bytes there were, and whether that is all. */
function begin(bytes: number, isLast: boolean): Code {
  return [
    Array.from({ length: 8 }, (_, i) => [localGet(H + i), setV(i)]),
    IV.map((value, i) => {
      const word = i === 4 ? value ^ bytes : i === 6 && isLast ? ~value : value;
      return [splat(word | 0), setV(8 + i)];
    }),
  ];
}

const search: Code = [
  block(
    loop(
      [localGet(AT), localGet(END), i32.greaterEqualUnsigned, branchIf(1)],
      Array.from({ length: 8 }, (_, i) => [localGet(AT), v128.load(16 * i), localSet(H + i)]),
      begin(2 * BLOCK_BYTES, false),
      rounds(TAGS.message),
      Array.from({ length: 8 }, (_, i) => [localGet(H + i), v(i), xor, v(8 + i), xor, localSet(H + i)]),
      begin(BLOCK_BYTES + COVERED_BYTES, true),
      rounds(TAGS.message + BLOCK_BYTES),
      // One word tells nearly all of them apart.
      [localGet(H), v(0), xor, v(8), xor, loadSplat(TAGS.wanted), equal32, bitmask32, localSet(MASK)],
      block([localGet(MASK), I32_EQZ, branchIf(0)], [localGet(AT), localGet(MASK), I32_OR, RETURN]),
      [localGet(AT), i32.const(TAGS.groupBytes), i32.add, localSet(AT), branch(0)],
    ),
  ),
  i32.const(0),
];

/** tagsModule returns the module for a memory of so many pages. */
export function tagsModule(pages: number): Uint8Array<ArrayBuffer> {
  return assemble({
    pages,
    functions: [{ name: "search", parameters: 2, integers: 1, vectors: 25, body: search }],
  });
}
