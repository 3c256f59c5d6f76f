/**
 * A very small assembler for WebAssembly: functions of 32-bit integers over one imported memory, with 128-bit vectors.
 *
 * A body is written as one list of instructions, which are lists of bytes; nesting is free. Opcodes and their binary form are those of
 * the WebAssembly Core Specification 2.0, chapter 5.4 (vector instructions: 5.4.8).
 *
 * @example
 * ```ts
 * assemble({ pages: 1, functions: [{ name: "add", parameters: 2, body: [localGet(0), localGet(1), i32.add] }] });
 * ```
 */

/** Code is a sequence of instruction bytes, nested as it was written. */
export type Code = number | readonly Code[];

/** WasmFunction takes and returns 32-bit integers. Locals are numbered after the parameters: integers first, then vectors. */
export interface WasmFunction {
  readonly name: string;
  readonly parameters: number;
  readonly integers?: number;
  readonly vectors?: number;
  readonly body: Code;
}

/** WasmProgram is a module that imports `env.memory` of at least so many pages of 64 KiB. */
export interface WasmProgram {
  readonly pages: number;
  readonly functions: readonly WasmFunction[];
}

const I32 = 0x7f;
const V128 = 0x7b;
const NO_RESULT = 0x40;

/** unsigned returns a number as LEB128 (5.2.2). */
export function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value >>> 0; ; rest >>>= 7) {
    if (rest < 0x80) return [...bytes, rest];
    bytes.push((rest & 0x7f) | 0x80);
  }
}

/** signed returns a 32-bit number as signed LEB128. */
export function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value | 0; ; rest >>= 7) {
    const last = rest >= -64 && rest < 64;
    bytes.push(last ? rest & 0x7f : (rest & 0x7f) | 0x80);
    if (last) return bytes;
  }
}

export const localGet = (index: number): Code => [0x20, ...unsigned(index)];
export const localSet = (index: number): Code => [0x21, ...unsigned(index)];

/** block runs its body; `branch(0)` in it leaves it. */
export const block = (...body: Code[]): Code => [0x02, NO_RESULT, body, 0x0b];
/** loop runs its body once; `branch(0)` in it begins it anew. */
export const loop = (...body: Code[]): Code => [0x03, NO_RESULT, body, 0x0b];
/** when runs its body if the value on the stack is not zero. */
export const when = (...body: Code[]): Code => [0x04, NO_RESULT, body, 0x0b];
export const branch = (depth: number): Code => [0x0c, ...unsigned(depth)];
export const branchIf = (depth: number): Code => [0x0d, ...unsigned(depth)];

/** Loads and stores take an offset that is added to the address; alignment is a mere hint and given as none. */
const memory =
  (...opcode: number[]) =>
  (offset = 0): Code => [...opcode, 0, ...unsigned(offset)];

/** Instructions on 32-bit integers. */
export const i32 = {
  const: (value: number): Code => [0x41, ...signed(value)],
  load: memory(0x28),
  load8: memory(0x2d),
  load16: memory(0x2f),
  store: memory(0x36),
  store8: memory(0x3a),
  store16: memory(0x3b),
  lessUnsigned: 0x49,
  greaterEqualUnsigned: 0x4f,
  add: 0x6a,
  subtract: 0x6b,
  and: 0x71,
  shiftRightUnsigned: 0x76,
} as const;

/** Instructions on vectors; the prefix 0xfd is followed by the opcode as LEB128. */
export const v128 = {
  load: memory(0xfd, 0x00),
  store: memory(0xfd, 0x0b),
  /** Adds neighbours of eight unsigned 16-bit lanes into four 32-bit lanes. */
  addPairs16: [0xfd, 0x7f] as Code,
  /** Adds four 32-bit lanes. */
  add32: [0xfd, ...unsigned(0xae)] as Code,
  lane32: (lane: number): Code => [0xfd, 0x1b, lane],
} as const;

function flat(code: Code, into: number[] = []): number[] {
  if (typeof code === "number") into.push(code);
  else for (const part of code) flat(part, into);
  return into;
}

const counted = (items: readonly (readonly number[])[]) => [...unsigned(items.length), ...items.flat()];
const sized = (bytes: readonly number[]) => [...unsigned(bytes.length), ...bytes];
const section = (id: number, items: readonly (readonly number[])[]) => [id, ...sized(counted(items))];
const text = (value: string) => sized([...new TextEncoder().encode(value)]);

/** assemble returns the binary module (5.5). */
export function assemble(program: WasmProgram): Uint8Array<ArrayBuffer> {
  const { functions } = program;
  const types = functions.map(({ parameters }) => [
    0x60,
    ...sized(Array<number>(parameters).fill(I32)),
    ...sized([I32]),
  ]);
  const bodies = functions.map(({ integers = 0, vectors = 0, body }) =>
    sized([
      ...counted([
        [...unsigned(integers), I32],
        [...unsigned(vectors), V128],
      ]),
      ...flat(body),
      0x0b,
    ]),
  );
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, types),
    ...section(2, [[...text("env"), ...text("memory"), 0x02, 0x00, ...unsigned(program.pages)]]),
    ...section(
      3,
      functions.map((_, index) => unsigned(index)),
    ),
    ...section(
      7,
      functions.map(({ name }, index) => [...text(name), 0x00, ...unsigned(index)]),
    ),
    ...section(10, bodies),
  ]);
}
