/**
 * Several UDP sockets on one port, with a program that says which of them a datagram goes to (SO_ATTACH_REUSEPORT_CBPF, socket(7)).
 *
 * The program is classic BPF (Documentation/networking/filter.rst); it sees the datagram from its first byte after the UDP header and
 * returns the number of a socket, in the order in which they were bound. Reading beyond the end returns 0 (net/core/filter.c).
 */
import * as libc from "./libc.ts";
import { addressOf, stable } from "./memory.ts";

const SOL_SOCKET = 1;
const SO_REUSEPORT = 15;
const SO_MARK = 36;
const SO_ATTACH_REUSEPORT_CBPF = 51;
const INSTRUCTION = 8;
const HEADER = 16;

/** BpfInstruction is `struct sock_filter`: code, jumps if true and if false, operand. */
export type BpfInstruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

/** BPF has the codes of the instructions that are needed here (include/uapi/linux/bpf_common.h, linux/filter.h). */
export const BPF = {
  loadByte: 0x30,
  jumpIfEqual: 0x15,
  modulo: 0x94,
  add: 0x04,
  returnNumber: 0x06,
  returnA: 0x16,
} as const;

/**
 * sharePort lets sockets that are bound from now on join the port of this one. The first is bound before it is shared: so another
 * program that has the port is noticed (EADDRINUSE).
 */
export function sharePort(socket: number): void {
  libc.setsockopt(socket, SOL_SOCKET, SO_REUSEPORT, 1);
}

/** steerDatagrams gives a group of sockets its program; any of them stands for all. */
export function steerDatagrams(socket: number, program: readonly BpfInstruction[]): void {
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
  libc.setsockopt(socket, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, all.subarray(0, HEADER));
}

/** markDatagrams marks all that a socket sends, for routing and filters; 0 for none. Needs CAP_NET_ADMIN. */
export function markDatagrams(socket: number, mark: number): void {
  libc.setsockopt(socket, SOL_SOCKET, SO_MARK, mark | 0);
}
