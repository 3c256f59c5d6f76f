/**
 * Which frames of an interface go to AF_XDP sockets, as a value, and the XDP program that it becomes; all others stay with the kernel.
 *
 * ```
 * EtherType in the list ──────────────────────────────────▶ take: the socket of the queue that it came by; none: the kernel, or nobody
 * IPv4 or IPv6 ─▶ protocol in the list ───────────────────▶ take
 *              └▶ UDP ─▶ destination port in the list ────▶ take
 * else: the kernel
 * ```
 * By protocol and port only whole packets are taken: fragments, and IPv6 packets with extension headers, stay with the kernel, which can
 * put them together. A VLAN tag is an EtherType of its own; where the hardware takes it away before the program runs, nothing tells.
 */
import {
  add,
  addRegister,
  and,
  assembleBpf,
  type BpfLine,
  call,
  copy,
  exit,
  jump,
  jumpIf,
  jumpIfBehind,
  label,
  load,
  loadMap,
  move,
  R0,
  R1,
  R2,
  R3,
  R4,
  R5,
  R6,
  shiftLeft,
} from "./bpf-assembler.ts";

/** XdpFilter lists what is taken; a frame that any list names. */
export interface XdpFilter {
  /** EtherTypes: 0x0800 is all of IPv4, 0x0806 is ARP. */
  readonly etherTypes?: readonly number[];
  /** IP protocols, of both families: 50 is ESP. */
  readonly ipProtocols?: readonly number[];
  /** Destination ports of UDP, over both families. */
  readonly udpPorts?: readonly number[];
}

/** MOST_FILTER_ENTRIES is the limit of each list. */
export const MOST_FILTER_ENTRIES = 64;

/** Verdicts of enum xdp_action. */
export const XDP = { drop: 1, pass: 2, redirect: 4 } as const;

/** XdpRest is what becomes of a frame that the filter takes and that no socket has: the kernel gets it, or nobody. */
export type XdpRest = "drop" | "pass";

/** Offsets in struct xdp_md (include/uapi/linux/bpf.h). */
const MD = { data: 0, end: 4, queue: 16 } as const;
const REDIRECT_MAP = 51;

const ETHERNET = 14;
const ETHER_TYPE = 12;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const UDP = 17;

/** A number of 16 bits as the machine reads it from a packet. */
const swapped = (value: number) => ((value & 0xff) << 8) | (value >>> 8);

function checked(name: string, values: readonly number[] | undefined, most: number): readonly number[] {
  const list = values ?? [];
  if (list.length > MOST_FILTER_ENTRIES)
    throw new RangeError(`An XDP filter has ${list.length} ${name}; at most ${MOST_FILTER_ENTRIES} can be`);
  for (const value of list)
    if (!Number.isInteger(value) || value < 0 || value > most)
      throw new RangeError(`An XDP filter has ${value} among its ${name}; they are 0 to ${most}`);
  return list;
}

/** xdpProgram returns the program for a filter. Its sockets are in the XSKMAP with the descriptor `map`. */
export function xdpProgram(filter: XdpFilter, map: number, rest: XdpRest = "pass"): Uint8Array<ArrayBuffer> {
  const etherTypes = checked("EtherTypes", filter.etherTypes, 0xffff);
  const protocols = checked("IP protocols", filter.ipProtocols, 0xff);
  const ports = checked("UDP ports", filter.udpPorts, 0xffff);
  const isEqual = (values: readonly number[]) => values.map((value) => jumpIf(R5, "=", value, "take"));
  const intoIp = protocols.length + ports.length > 0;
  // The verifier refuses what nobody reaches.
  if (etherTypes.length === 0 && !intoIp) return assembleBpf([move(R0, XDP.pass), exit]);
  return assembleBpf([
    copy(R6, R1),
    load(R2, 4, R1, MD.data),
    load(R3, 4, R1, MD.end),
    ...within(ETHERNET),
    load(R5, 2, R2, ETHER_TYPE),
    ...isEqual(etherTypes.map(swapped)),
    ...(intoIp ? ipLines({ protocols: isEqual(protocols), ports: isEqual(ports.map(swapped)) }) : []),
    label("pass"),
    move(R0, XDP.pass),
    exit,
    label("take"),
    load(R2, 4, R6, MD.queue),
    loadMap(R1, map),
    // What it returns for a queue without a socket: bpf_redirect_map in Linux 5.3 and later.
    move(R3, XDP[rest]),
    call(REDIRECT_MAP),
    exit,
  ]);
}

/** Goes to `pass` unless so many bytes from R2 on are there. */
const within = (bytes: number): BpfLine[] => [copy(R4, R2), add(R4, bytes), jumpIfBehind(R4, R3, "pass")];

/** R5 has the EtherType. Falls through for what is not taken. */
function ipLines(take: {
  readonly protocols: readonly BpfLine[];
  readonly ports: readonly BpfLine[];
}): BpfLine[] {
  const toUdp = take.ports.length > 0;
  return [
    jumpIf(R5, "=", swapped(IPV4), "ip4"),
    jumpIf(R5, "≠", swapped(IPV6), "pass"),
    // IPv6: 40 bytes, the next header in byte 6.
    ...within(ETHERNET + 40),
    load(R5, 1, R2, ETHERNET + 6),
    ...take.protocols,
    ...(toUdp ? [jumpIf(R5, "≠", UDP, "pass"), add(R2, ETHERNET + 40), jump("udp")] : [jump("pass")]),
    // IPv4: 20 bytes and options, the protocol in byte 9.
    label("ip4"),
    ...within(ETHERNET + 20),
    load(R5, 2, R2, ETHERNET + 6),
    and(R5, swapped(0x3fff)),
    jumpIf(R5, "≠", 0, "pass"),
    load(R5, 1, R2, ETHERNET + 9),
    ...take.protocols,
    ...(toUdp
      ? [
          jumpIf(R5, "≠", UDP, "pass"),
          load(R5, 1, R2, ETHERNET),
          and(R5, 15),
          shiftLeft(R5, 2),
          jumpIf(R5, "<", 20, "pass"),
          addRegister(R2, R5),
          add(R2, ETHERNET),
          label("udp"),
          ...within(8),
          load(R5, 2, R2, 2),
          ...take.ports,
        ]
      : []),
  ];
}
