/**
 * Instructions of x86-64, as in volume 2 of Intel's Software Developer's Manual. One form of each, with the widest operand:
 *
 * ```
 * REX.W R B │ opcode │ ModRM: mode, reg, r/m │ SIB and 8-bit displacement, or a 32-bit number
 * ```
 */
import type { Condition, Machine, Register } from "./assembler.ts";

/** Numbers of registers (volume 2, table 3-1). A system call takes rcx and r11 (`syscall`) and keeps all others. */
const number: Readonly<Record<Register, number>> = {
  stack: 4, // rsp
  result: 0, // rax
  a1: 7, // rdi
  a2: 6, // rsi
  a3: 2, // rdx
  a4: 10,
  a5: 8,
  v1: 1, // rcx
  v2: 11,
  k1: 3, // rbx
  k2: 5, // rbp
  k3: 12,
  k4: 13,
  k5: 14,
  k6: 15,
  k7: 9,
};

/** The last four bits of `0F 8x`, jump near if. */
const conditions: Readonly<Record<Condition, number>> = { equal: 0x4, different: 0x5, less: 0xc };

const WIDE = 8; // REX.W: 64 bits

const long = (value: number): number[] => [value, value >> 8, value >> 16, value >> 24].map((x) => x & 0xff);

/** REX carries the fourth bit of both register numbers. */
const rex = (wide: number, reg: number, rm: number) => 0x40 | wide | ((reg >> 3) << 2) | (rm >> 3);

/** Between two registers: r/m is changed, reg is read. */
const pair = (opcode: number, reg: number, rm: number): number[] => [
  rex(WIDE, reg, rm),
  opcode,
  0xc0 | ((reg & 7) << 3) | (rm & 7),
];

/** With a number: `81 /digit`. */
const immediate = (digit: number, rm: number, value: number): number[] => [
  ...pair(0x81, digit, rm),
  ...long(value),
];

/** A memory operand: always with SIB and displacement 0, since rsp, rbp, r12 and r13 cannot be said without one of them. */
const memory = (wide: number, opcode: readonly number[], reg: number, base: number): number[] => [
  rex(wide, reg, base),
  ...opcode,
  0x44 | ((reg & 7) << 3),
  0x20 | (base & 7),
  0,
];

/** x86_64 is the machine of AMD and Intel. */
export const x86_64: Machine = {
  elf: 62, // EM_X86_64
  // arch/x86/entry/syscalls/syscall_64.tbl
  numbers: {
    connect: 42,
    dup3: 292,
    execve: 59,
    exit_group: 231,
    lseek: 8,
    memfd_create: 319,
    openat: 257,
    ppoll: 271,
    read: 0,
    readlinkat: 267,
    sendmsg: 46,
    setsockopt: 54,
    socket: 41,
    write: 1,
  },
  // mov r32, imm32 clears the upper half
  set: (to, value) => [rex(0, 0, number[to]), 0xb8 | (number[to] & 7), ...long(value)],
  move: (to, from) => pair(0x89, number[from], number[to]),
  add: (to, amount) =>
    typeof amount === "number" ? immediate(0, number[to], amount) : pair(0x01, number[amount], number[to]),
  subtract: (to, amount) => pair(0x29, number[amount], number[to]),
  // movzx r32, m8; mov r64, m64
  load: (bits, to, address) =>
    bits === 8
      ? memory(0, [0x0f, 0xb6], number[to], number[address])
      : memory(WIDE, [0x8b], number[to], number[address]),
  // REX also makes numbers 4 to 7 mean the low bytes of rsp to rdi
  store: (bits, from, address) =>
    bits === 8
      ? memory(0, [0x88], number[from], number[address])
      : memory(WIDE, [0x89], number[from], number[address]),
  compare: (left, right) =>
    typeof right === "number" ? immediate(7, number[left], right) : pair(0x39, number[right], number[left]),
  // The processor counts from the next instruction.
  branch: (distance, condition) =>
    condition === undefined
      ? [0xe9, ...long(distance - 5)]
      : [0x0f, 0x80 | conditions[condition], ...long(distance - 6)],
  // mov eax, imm32; syscall
  trap: (call) => [0xb8, ...long(call), 0x0f, 0x05],
};
