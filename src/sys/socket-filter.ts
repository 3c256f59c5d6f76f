/**
 * Programs in the kernel that see what comes to a socket: which of it is let in (SO_ATTACH_FILTER), or which socket of a group gets it
 * (reuseport.ts). Classic BPF (Documentation/networking/filter.rst); reading beyond the end of a packet returns 0 for the whole program.
 */
import type { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { addressOf, stable } from "./memory.ts";

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SO_ATTACH_BPF = 50;
const INSTRUCTION = 8;
const HEADER = 16;

/** BpfInstruction is `struct sock_filter`: code, jumps if true and if false, operand. */
export type BpfInstruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

/** BPF has the codes of the instructions that are needed here (include/uapi/linux/bpf_common.h, linux/filter.h). */
export const BPF = {
  loadByte: 0x30,
  /** Loads relative to register X: what lies behind a header of variable length. */
  loadHalfBehind: 0x48,
  loadWordBehind: 0x40,
  /** X = four times the low half of a byte: the length of an IPv4 header. */
  loadHeaderLength: 0xb1,
  setX: 0x01,
  jumpIfEqual: 0x15,
  jumpIfGreater: 0x25,
  modulo: 0x94,
  add: 0x04,
  returnNumber: 0x06,
  returnA: 0x16,
} as const;

/** attachProgram gives a socket a program by one of the options that take a `struct sock_fprog`. */
export function attachProgram(socket: number, option: number, program: readonly BpfInstruction[]): void {
  // struct sock_fprog, which is length and pointer, and behind it what it points to: one piece of memory, which lives as long as the call.
  const all = stable(HEADER + program.length * INSTRUCTION);
  const view = new DataView(all.buffer);
  view.setUint16(0, program.length, true);
  view.setBigUint64(8, BigInt(addressOf(all) + HEADER), true);
  program.forEach(([instruction, ifTrue, ifFalse, operand], i) => {
    const at = HEADER + i * INSTRUCTION;
    view.setUint16(at, instruction, true);
    view.setUint8(at + 2, ifTrue);
    view.setUint8(at + 3, ifFalse);
    view.setUint32(at + 4, operand, true);
  });
  libc.setsockopt(socket, SOL_SOCKET, option, all.subarray(0, HEADER));
}

/** filterPackets lets in so many bytes of each packet as the program returns; 0: the packet is not for this socket. */
export function filterPackets(socket: number, program: readonly BpfInstruction[]): void {
  attachProgram(socket, SO_ATTACH_FILTER, program);
}

/** filterPacketsBy does so with a program of eBPF (loadSocketFilter), which may look into maps. */
export function filterPacketsBy(socket: number, program: Fd): void {
  libc.setsockopt(socket, SOL_SOCKET, SO_ATTACH_BPF, program.number);
}
