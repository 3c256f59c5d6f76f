/**
 * The sockets of one UDP port: one for each thread, and a program in the kernel that sends every datagram to the thread it is for.
 *
 * ```
 *   data message (first byte 4)  ▶  worker (lowest byte of the receiver index, modulo workers)
 *   anything else                ▶  control
 * ```
 * So a session's replay window belongs to one worker, and a flood of handshakes fills the queue of the control thread's socket and no other.
 * Where the kernel joins datagrams (UDP_GRO) it may join some of different kinds; threads hand each other what is not theirs.
 */
import {
  BPF,
  type BpfInstruction,
  DatagramSocket,
  isErrno,
  markDatagrams,
  sharePort,
  steerDatagrams,
} from "../../sys/mod.ts";

const DATA = 4;
const RECEIVER = 4;
const MOST_TRIES = 16;
/** The control thread gets handshakes only; what does not fit is load, and better dropped than worked on late. */
const CONTROL_BUFFER = 256 << 10;

/** SocketGroup is the sockets of a family: the control thread's, then the workers'. */
export type SocketGroup = readonly DatagramSocket[];

/** workerOf returns which worker owns a session. */
export function workerOf(localIndex: number, workers: number): number {
  return (localIndex & 0xff) % workers;
}

/** steeringProgram returns the number of a socket: 0 is the control thread's, 1 the first worker's. */
export function steeringProgram(workers: number): readonly BpfInstruction[] {
  return [
    [BPF.loadByte, 0, 0, 0],
    [BPF.jumpIfEqual, 0, 4, DATA],
    [BPF.loadByte, 0, 0, RECEIVER],
    [BPF.modulo, 0, 0, workers],
    [BPF.add, 0, 0, 1],
    [BPF.returnA, 0, 0, 0],
    [BPF.returnNumber, 0, 0, 0],
  ];
}

/**
 * openGroups opens the sockets of both families on one port; 0 for one that is free. Without IPv6 in the system there is one group. EADDRINUSE
 * if another program has the port.
 */
export function openGroups(port: number, workers: number): SocketGroup[] {
  for (let tries = 1; ; tries++) {
    const groups: SocketGroup[] = [];
    try {
      groups.push(openGroup(4, { port, workers }));
      try {
        groups.push(openGroup(6, { port: (groups[0]?.[0] as DatagramSocket).port, workers }));
      } catch (error) {
        if (!isErrno(error, "EAFNOSUPPORT", "EADDRNOTAVAIL")) throw error;
      }
      return groups;
    } catch (error) {
      closeGroups(groups);
      // The port that was free for IPv4 need not be for IPv6.
      if (port !== 0 || tries === MOST_TRIES || !isErrno(error, "EADDRINUSE")) throw error;
    }
  }
}

function openGroup(family: 4 | 6, options: { readonly port: number; readonly workers: number }): SocketGroup {
  const sockets: DatagramSocket[] = [];
  try {
    const first = DatagramSocket.open(family, {
      port: options.port,
      localAddress: true,
      bufferBytes: CONTROL_BUFFER,
    });
    sockets.push(first);
    sharePort(first.fd.number);
    for (let worker = 0; worker < options.workers; worker++)
      sockets.push(DatagramSocket.open(family, { port: first.port, localAddress: true, sharePort: true }));
    steerDatagrams(first.fd.number, steeringProgram(options.workers));
    return sockets;
  } catch (error) {
    closeGroups([sockets]);
    throw error;
  }
}

/** closeGroups closes all sockets. */
export function closeGroups(groups: readonly SocketGroup[]): void {
  for (const group of groups) for (const socket of group) socket.close();
}

/** markGroups marks what all of them send. */
export function markGroups(groups: readonly SocketGroup[], mark: number): void {
  for (const group of groups) for (const { fd } of group) markDatagrams(fd.number, mark);
}
