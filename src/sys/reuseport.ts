/**
 * Several UDP sockets on one port, with a program that says which of them a datagram goes to (SO_ATTACH_REUSEPORT_CBPF, socket(7)).
 *
 * The program is classic BPF (Documentation/networking/filter.rst); it sees the datagram from its first byte after the UDP header and
 * returns the number of a socket, in the order in which they were bound. Reading beyond the end returns 0 (net/core/filter.c).
 */
import * as libc from "./libc.ts";
import { attachProgram, type BpfInstruction } from "./socket-filter.ts";

const SOL_SOCKET = 1;
const SO_REUSEPORT = 15;
const SO_MARK = 36;
const SO_ATTACH_REUSEPORT_CBPF = 51;

/**
 * sharePort lets sockets that are bound from now on join the port of this one. The first is bound before it is shared: so another
 * program that has the port is noticed (EADDRINUSE).
 */
export function sharePort(socket: number): void {
  libc.setsockopt(socket, SOL_SOCKET, SO_REUSEPORT, 1);
}

/** steerDatagrams gives a group of sockets its program; any of them stands for all. */
export function steerDatagrams(socket: number, program: readonly BpfInstruction[]): void {
  attachProgram(socket, SO_ATTACH_REUSEPORT_CBPF, program);
}

/** markDatagrams marks all that a socket sends, for routing and filters; 0 for none. Needs CAP_NET_ADMIN. */
export function markDatagrams(socket: number, mark: number): void {
  libc.setsockopt(socket, SOL_SOCKET, SO_MARK, mark | 0);
}
