/**
 * A very small assembler for eBPF, of what packet filters need: loads, comparisons, jumps to names, calls of the kernel's functions.
 *
 * An instruction has eight bytes (Documentation/bpf/standardization/instruction-set.rst, RFC 9669):
 * ```
 *  0        1             2        4
 *  | opcode | src | dst   | offset | immediate |      registers have four bits each, the destination the lower ones
 * ```
 *
 * @example
 * ```ts
 * assembleBpf([jumpIf(R1, "=", 7, "seven"), move(R0, 0), exit, label("seven"), move(R0, 1), exit]);
 * ```
 */

/** Register numbers: R0 has the result, R1 to R5 are a function's arguments and lost by a call, R6 to R9 are kept. */
export const [R0, R1, R2, R3, R4, R5, R6, R7, R8, R9] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const;
/** R10 is the end of the stack, which has 512 bytes. */
export const R10 = 10;

/** BpfLine is one instruction, or a name for the place of the next. */
export type BpfLine =
  | { readonly label: string }
  | {
      readonly opcode: number;
      readonly target?: number;
      readonly source?: number;
      readonly offset?: number;
      /** A place to jump to, instead of an offset. */
      readonly to?: string;
      readonly immediate?: number;
      /** The upper half of a 64-bit immediate; the instruction then takes two places. */
      readonly wide?: boolean;
    };

/** Classes and operations: section 2 and 4 of RFC 9669. */
const ALU64 = 0x07;
const JMP = 0x05;
const FROM_REGISTER = 0x08;
const OPERATION = { add: 0x00, and: 0x50, shiftLeft: 0x60, shiftRight: 0x70, xor: 0xa0, move: 0xb0 } as const;
const CONDITION = { "=": 0x10, ">": 0x20, "≠": 0x50, "<": 0xa0 } as const;
const LOAD = { 8: 0x79, 4: 0x61, 2: 0x69, 1: 0x71 } as const;
const STORE = { 8: 0x7b, 4: 0x63, 2: 0x6b, 1: 0x73 } as const;
const STORE_NUMBER = { 8: 0x7a, 4: 0x62, 2: 0x6a, 1: 0x72 } as const;
const MAP_DESCRIPTOR = 1;

const alu = (operation: keyof typeof OPERATION, target: number, value: number): BpfLine => ({
  opcode: ALU64 | OPERATION[operation],
  target,
  immediate: value,
});
const aluRegister = (operation: keyof typeof OPERATION, target: number, source: number): BpfLine => ({
  opcode: ALU64 | FROM_REGISTER | OPERATION[operation],
  target,
  source,
});

/** label names the place of the next instruction. */
export const label = (name: string): BpfLine => ({ label: name });
/** move sets a register to a number. */
export const move = (target: number, value: number): BpfLine => alu("move", target, value);
/** copy sets a register to another's value. */
export const copy = (target: number, source: number): BpfLine => aluRegister("move", target, source);
/** add adds a number. */
export const add = (target: number, value: number): BpfLine => alu("add", target, value);
/** addRegister adds another register. */
export const addRegister = (target: number, source: number): BpfLine => aluRegister("add", target, source);
/** and keeps the bits that are set in a number. */
export const and = (target: number, value: number): BpfLine => alu("and", target, value);
/** shiftLeft shifts by a number of bits. */
export const shiftLeft = (target: number, bits: number): BpfLine => alu("shiftLeft", target, bits);
/** shiftRight shifts by a number of bits; zeros come in. */
export const shiftRight = (target: number, bits: number): BpfLine => alu("shiftRight", target, bits);
/** xor turns the bits over that are set in a number. */
export const xor = (target: number, value: number): BpfLine => alu("xor", target, value);
/** swap16 turns a number of 16 bits from the machine's order to the network's, or back. */
export const swap16 = (target: number): BpfLine => ({ opcode: 0xdc, target, immediate: 16 });
/** store writes the lowest 1, 2, 4 or 8 bytes of a register at the address in another and an offset. */
export const store = (bytes: 1 | 2 | 4 | 8, into: number, offset: number, source: number): BpfLine => ({
  opcode: STORE[bytes],
  target: into,
  source,
  offset,
});
/** storeNumber writes a number likewise. */
export const storeNumber = (bytes: 1 | 2 | 4 | 8, into: number, offset: number, value: number): BpfLine => ({
  opcode: STORE_NUMBER[bytes],
  target: into,
  offset,
  immediate: value,
});
/** load reads 1, 2, 4 or 8 bytes, in the machine's order, at the address in a register and an offset. */
export const load = (target: number, bytes: 1 | 2 | 4 | 8, source: number, offset: number): BpfLine => ({
  opcode: LOAD[bytes],
  target,
  source,
  offset,
});
/** jump goes on at a name. */
export const jump = (to: string): BpfLine => ({ opcode: JMP, to });
/** jumpIf goes on at a name if a register compares so, unsigned, with a number. */
export const jumpIf = (
  target: number,
  condition: keyof typeof CONDITION,
  value: number,
  to: string,
): BpfLine => ({
  opcode: JMP | CONDITION[condition],
  target,
  immediate: value,
  to,
});
/** jumpIfBehind goes on at a name if a register is greater than another. */
export const jumpIfBehind = (target: number, source: number, to: string): BpfLine => ({
  opcode: JMP | FROM_REGISTER | CONDITION[">"],
  target,
  source,
  to,
});
/** jumpUnlessEqual goes on at a name if two registers are not the same. */
export const jumpUnlessEqual = (target: number, source: number, to: string): BpfLine => ({
  opcode: JMP | FROM_REGISTER | CONDITION["≠"],
  target,
  source,
  to,
});
/** loadMap sets a register to the map with a descriptor (LD_IMM64 with BPF_PSEUDO_MAP_FD). */
export const loadMap = (target: number, descriptor: number): BpfLine => ({
  opcode: 0x18,
  target,
  source: MAP_DESCRIPTOR,
  immediate: descriptor,
  wide: true,
});
/** call calls a function of the kernel by its number (enum bpf_func_id). */
export const call = (number: number): BpfLine => ({ opcode: 0x85, immediate: number });
/** exit returns what is in R0. */
export const exit: BpfLine = { opcode: 0x95 };

const sizeOf = (line: BpfLine) => ("label" in line ? 0 : line.wide === true ? 2 : 1);

/** assembleBpf returns the program's bytes, for a little-endian machine. */
export function assembleBpf(lines: readonly BpfLine[]): Uint8Array<ArrayBuffer> {
  const places = new Map<string, number>();
  let size = 0;
  for (const line of lines) {
    if ("label" in line) {
      if (places.has(line.label)) throw new RangeError(`Two places are named ${line.label}`);
      places.set(line.label, size);
    }
    size += sizeOf(line);
  }
  const bytes = new Uint8Array(8 * size);
  const view = new DataView(bytes.buffer);
  let place = 0;
  for (const line of lines) {
    if ("label" in line) continue;
    const at = 8 * place;
    place += sizeOf(line);
    bytes[at] = line.opcode;
    bytes[at + 1] = ((line.source ?? 0) << 4) | (line.target ?? 0);
    view.setInt16(
      at + 2,
      line.to === undefined ? (line.offset ?? 0) : distance(places, line.to, place),
      true,
    );
    view.setInt32(at + 4, line.immediate ?? 0, true);
  }
  return bytes;
}

/** How far it is from behind a jump to a name. */
function distance(places: ReadonlyMap<string, number>, name: string, from: number): number {
  const to = places.get(name);
  if (to === undefined) throw new RangeError(`No place is named ${name}`);
  if (to - from > 32_767 || to - from < -32_768) throw new RangeError(`${name} is too far away`);
  return to - from;
}
