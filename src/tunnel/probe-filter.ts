/**
 * What a raw socket of ours is to see of all the UDP packets that come to a node: those to the tunnel's port that begin with our magic.
 *
 * Raw sockets of IPv4 see packets from their IP header on, those of IPv6 from what follows it (raw(7)).
 */
import { BPF, type BpfInstruction } from "../sys/mod.ts";

const UDP_HEADER = 8;
/** "CWAY", as a number in network order. */
const MAGIC_WORD = 0x43574159;

/** FilterOptions say which datagrams pass, and how much of them is kept. */
export interface FilterOptions {
  readonly port: number;
  /** Longer ones are cut. */
  readonly wholeBytes: number;
  /** To so many bytes. */
  readonly headBytes: number;
}

/** probeFilter returns the program for a family. It keeps a little more than was asked for where the header has no options. */
export function probeFilter(family: 4 | 6, options: FilterOptions): readonly BpfInstruction[] {
  const most = (family === 4 ? 60 : 0) + UDP_HEADER;
  return [
    family === 4 ? [BPF.loadHeaderLength, 0, 0, 0] : [BPF.setX, 0, 0, 0],
    [BPF.loadHalfBehind, 0, 0, 2],
    [BPF.jumpIfEqual, 0, 6, options.port],
    [BPF.loadWordBehind, 0, 0, UDP_HEADER],
    [BPF.jumpIfEqual, 0, 4, MAGIC_WORD],
    [BPF.loadHalfBehind, 0, 0, 4],
    [BPF.jumpIfGreater, 1, 0, UDP_HEADER + options.wholeBytes],
    [BPF.returnNumber, 0, 0, most + options.wholeBytes],
    [BPF.returnNumber, 0, 0, most + options.headBytes],
    [BPF.returnNumber, 0, 0, 0],
  ];
}

/** alarmFilter lets through what probeFilter does, as one byte: for a socket that only says that something came. */
export function alarmFilter(family: 4 | 6, options: FilterOptions): readonly BpfInstruction[] {
  return probeFilter(family, options).map((instruction) =>
    instruction[0] === BPF.returnNumber && instruction[3] > 0 ? [BPF.returnNumber, 0, 0, 1] : instruction,
  );
}
