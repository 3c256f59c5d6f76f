/** Instructions of arm64 (AArch64), as in the Arm Architecture Reference Manual (DDI 0487), part C6.2; each is 32 bits, little-endian. */
import type { Condition, Machine, Register } from "./assembler.ts";

/** Numbers of registers. A system call takes x8 and x0-x5, gives x0, and keeps all others. */
const number: Readonly<Record<Register, number>> = {
  stack: 31, // sp, in the instructions that know it: `add` with a number, and addresses
  result: 0,
  a1: 0,
  a2: 1,
  a3: 2,
  a4: 3,
  a5: 4,
  v1: 9,
  v2: 10,
  k1: 19,
  k2: 20,
  k3: 21,
  k4: 22,
  k5: 23,
  k6: 24,
  k7: 25,
};

const ZERO = 31; // xzr, in all other instructions

/** Part C1.2.4. */
const conditions: Readonly<Record<Condition, number>> = { equal: 0, different: 1, less: 11 };

const word = (value: number): number[] => [value, value >> 8, value >> 16, value >> 24].map((x) => x & 0xff);

/** MOVZ and MOVK of the 32-bit registers: the upper half is cleared. */
const constant = (to: number, value: number): number[] => [
  ...word(0x52800000 | ((value & 0xffff) << 5) | to),
  ...word(0x72a00000 | (((value >>> 16) & 0xffff) << 5) | to),
];

/** ADD, SUB, ADDS, SUBS with a number of 12 bits. */
const immediate = (opcode: number, to: number, from: number, amount: number): number[] =>
  word(opcode | (amount << 10) | (from << 5) | to);

/** Three registers: ADD, SUB, SUBS (shifted register, shift 0). */
const triple = (opcode: number, to: number, left: number, right: number): number[] =>
  word(opcode | (right << 16) | (left << 5) | to);

/** LDR, LDRB, STR, STRB (unsigned offset 0). */
const memory = (opcode: number, register: Register, address: Register): number[] =>
  word(opcode | (number[address] << 5) | number[register]);

/** arm64 is the machine of 64-bit Arm. */
export const arm64: Machine = {
  elf: 183, // EM_AARCH64
  // include/uapi/asm-generic/unistd.h
  numbers: {
    connect: 203,
    dup3: 24,
    execve: 221,
    exit_group: 94,
    lseek: 62,
    memfd_create: 279,
    openat: 56,
    ppoll: 73,
    read: 63,
    readlinkat: 78,
    sendmsg: 211,
    setsockopt: 208,
    socket: 198,
    write: 64,
  },
  set: (to, value) => constant(number[to], value),
  move: (to, from) => immediate(0x91000000, number[to], number[from], 0),
  add: (to, amount) =>
    typeof amount === "number"
      ? immediate(amount < 0 ? 0xd1000000 : 0x91000000, number[to], number[to], Math.abs(amount))
      : triple(0x8b000000, number[to], number[to], number[amount]),
  subtract: (to, amount) => triple(0xcb000000, number[to], number[to], number[amount]),
  load: (bits, to, address) => memory(bits === 8 ? 0x39400000 : 0xf9400000, to, address),
  store: (bits, from, address) => memory(bits === 8 ? 0x39000000 : 0xf9000000, from, address),
  // CMP is SUBS into nowhere; with a negative number it is ADDS (CMN).
  compare: (left, right) =>
    typeof right === "number"
      ? immediate(right < 0 ? 0xb1000000 : 0xf1000000, ZERO, number[left], Math.abs(right))
      : triple(0xeb000000, ZERO, number[left], number[right]),
  branch: (distance, condition) =>
    condition === undefined
      ? word(0x14000000 | ((distance >> 2) & 0x3ffffff))
      : word(0x54000000 | (((distance >> 2) & 0x7ffff) << 5) | conditions[condition]),
  // The number goes to w8; SVC #0
  trap: (call) => [...constant(8, call), ...word(0xd4000001)],
};
