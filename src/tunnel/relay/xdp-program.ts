// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/**
 * The relay of data as an XDP program: what a circuit leads on is rewritten where it came in and sent from there; everything else is the kernel's, and
 * by it the data plane's.
 *
 * ```
 *   data message of WireGuard over UDP, whole, without IP options
 *     └▶ circuit by (source address, source port, receiver index), to the address and port of ours that its sender speaks to
 *          └▶ route and neighbour of the other node are known, it fits the MTU, and the way is by an interface of ours
 *               └▶ new addresses, ports and checksums, hop limit 64; redirect
 * ```
 * The kernel lends bpf_fib_lookup only to programs under the GPL, so this file may be used under it, too.
 */
import { stable } from "../../sys/mod.ts";
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
  jumpUnlessEqual,
  label,
  load,
  loadMap,
  move,
  R0,
  R1,
  R10,
  R2,
  R3,
  R4,
  R5,
  R6,
  R7,
  R8,
  R9,
  shiftRight,
  store,
  storeNumber,
  swap16,
  xor,
} from "../xdp/bpf-assembler.ts";

/** XDP_KEY is a circuit's key: the source's address (IPv4: four bytes), its port, and the receiver index, as they are in a packet. */
export const XDP_KEY = { address: 0, port: 16, index: 20, bytes: 24 } as const;
/** XDP_VALUE says to whom it leads: the address and port of ours that the source speaks to; then addresses and ports as they lie in a packet. */
export const XDP_VALUE = { local: 0, localPort: 16, family: 20, header: 24, bytes: 64 } as const;
/** XDP_COUNTER is two numbers of 64 bits: datagrams and their bytes. */
export const XDP_COUNTER = { datagrams: 0, bytes: 8, size: 16 } as const;

/** enum bpf_func_id. */
const CALL = { lookup: 1, checksumDifference: 28, redirect: 51, route: 69 } as const;
/** enum xdp_action. */
const XDP = { pass: 2, redirect: 4 } as const;
/** Offsets in struct xdp_md. */
const MD = { data: 0, end: 4, interface: 12 } as const;
/** Offsets in struct bpf_fib_lookup. */
const FIB = {
  family: 0,
  protocol: 1,
  sourcePort: 2,
  port: 4,
  bytes: 6,
  interface: 8,
  tos: 12,
  source: 16,
  target: 32,
  ourMac: 52,
  mac: 58,
  size: 64,
};

const ETHERNET = 14;
const UDP = 17;
const UDP_BYTES = 8;
/** The shortest data message. */
const LEAST_BYTES = 32;
const HOPS = 64;
/** The type and three zero bytes, as the machine reads them. */
const DATA = 4;

/** On the stack. */
const KEY = -XDP_KEY.bytes;
const ROUTE = KEY - FIB.size;
const COUNTER_KEY = ROUTE - 8;

/** Where fields of a family's header are, from the begin of the frame. */
interface Family {
  readonly number: 2 | 10;
  readonly etherType: number;
  readonly headerBytes: number;
  readonly hops: number;
  readonly source: number;
  readonly addressBytes: 4 | 16;
}
const FOUR: Family = {
  number: 2,
  etherType: 0x0800,
  headerBytes: 20,
  hops: ETHERNET + 8,
  source: ETHERNET + 12,
  addressBytes: 4,
};
const SIX: Family = {
  number: 10,
  etherType: 0x86dd,
  headerBytes: 40,
  hops: ETHERNET + 7,
  source: ETHERNET + 8,
  addressBytes: 16,
};

/** A number of 16 bits as the machine reads it from a packet. */
const swapped = (value: number) => ((value & 0xff) << 8) | (value >>> 8);

/** Copies bytes in words, by a register. */
function copyWords(
  bytes: number,
  [into, at]: readonly [number, number],
  [from, first]: readonly [number, number],
): BpfLine[] {
  return Array.from({ length: bytes / 4 }, (_, i) => [
    load(R5, 4, from, first + 4 * i),
    store(4, into, at + 4 * i, R5),
  ]).flat();
}

/** Adds the upper half of a register to the lower one, until there is none, and takes the complement: RFC 1071. R1 is lost. */
const folded = (register: number): BpfLine[] => [
  ...[0, 1].flatMap(() => [
    copy(R1, register),
    shiftRight(R1, 16),
    and(register, 0xffff),
    addRegister(register, R1),
  ]),
  xor(register, 0xffff),
];

/** What only IPv4 has: a header of 20 bytes that is no fragment's. */
const whole4: BpfLine[] = [
  load(R5, 1, R7, ETHERNET),
  jumpIf(R5, "≠", 0x45, "pass"),
  load(R5, 2, R7, ETHERNET + 6),
  and(R5, swapped(0x3fff)),
  jumpIf(R5, "≠", 0, "pass"),
  load(R5, 1, R7, ETHERNET + 9),
  jumpIf(R5, "≠", UDP, "pass"),
];
const whole6: BpfLine[] = [load(R5, 1, R7, ETHERNET + 6), jumpIf(R5, "≠", UDP, "pass")];

/** The IPv4 header's own checksum, over all of it. */
const headerChecksum: BpfLine[] = [
  storeNumber(2, R7, ETHERNET + 10, 0),
  move(R0, 0),
  ...Array.from({ length: 10 }, (_, i) => [load(R5, 2, R7, ETHERNET + 2 * i), addRegister(R0, R5)]).flat(),
  ...folded(R0),
  store(2, R7, ETHERNET + 10, R0),
];

function familyLines(family: Family, maps: XdpMaps): BpfLine[] {
  const { number, headerBytes, hops, source, addressBytes } = family;
  const udp = ETHERNET + headerBytes;
  const message = udp + UDP_BYTES;
  const four = number === 2;
  /** Addresses and ports lie behind each other in both families. */
  const headerPart = 2 * addressBytes + 4;
  const name = (text: string) => `${text} ${number}`;
  return [
    // All that is read.
    copy(R4, R7),
    add(R4, message + LEAST_BYTES),
    jumpIfBehind(R4, R8, "pass"),
    ...(four ? whole4 : whole6),
    load(R5, 1, R7, hops),
    jumpIf(R5, "<", 2, "pass"),
    load(R5, 4, R7, message),
    jumpIf(R5, "≠", DATA, "pass"),
    storeNumber(8, R10, KEY, 0),
    storeNumber(8, R10, KEY + 8, 0),
    ...copyWords(addressBytes, [R10, KEY + XDP_KEY.address], [R7, source]),
    load(R5, 2, R7, udp),
    store(4, R10, KEY + XDP_KEY.port, R5),
    load(R5, 4, R7, message + 4),
    store(4, R10, KEY + XDP_KEY.index, R5),
    loadMap(R1, maps.circuits),
    copy(R2, R10),
    add(R2, KEY),
    call(CALL.lookup),
    jumpIf(R0, "=", 0, "pass"),
    copy(R9, R0),
    load(R5, 4, R9, XDP_VALUE.family),
    jumpIf(R5, "≠", number, "pass"),
    load(R5, 2, R9, XDP_VALUE.localPort),
    load(R4, 2, R7, udp + 2),
    jumpUnlessEqual(R5, R4, "pass"),
    ...Array.from({ length: addressBytes / 4 }, (_, i) => [
      load(R5, 4, R9, XDP_VALUE.local + 4 * i),
      load(R4, 4, R7, source + addressBytes + 4 * i),
      jumpUnlessEqual(R5, R4, "pass"),
    ]).flat(),
    // The way to the other node.
    ...Array.from({ length: FIB.size / 8 }, (_, i) => storeNumber(8, R10, ROUTE + 8 * i, 0)),
    storeNumber(1, R10, ROUTE + FIB.family, number),
    storeNumber(1, R10, ROUTE + FIB.protocol, UDP),
    load(R5, 2, R9, XDP_VALUE.header + 2 * addressBytes),
    store(2, R10, ROUTE + FIB.sourcePort, R5),
    load(R5, 2, R9, XDP_VALUE.header + 2 * addressBytes + 2),
    store(2, R10, ROUTE + FIB.port, R5),
    load(R5, 2, R7, ETHERNET + (four ? 2 : 4)),
    swap16(R5),
    ...(four ? [] : [add(R5, headerBytes)]),
    store(2, R10, ROUTE + FIB.bytes, R5),
    load(R5, 4, R6, MD.interface),
    store(4, R10, ROUTE + FIB.interface, R5),
    ...(four ? [load(R5, 1, R7, ETHERNET + 1), store(1, R10, ROUTE + FIB.tos, R5)] : []),
    ...copyWords(addressBytes, [R10, ROUTE + FIB.source], [R9, XDP_VALUE.header]),
    ...copyWords(addressBytes, [R10, ROUTE + FIB.target], [R9, XDP_VALUE.header + addressBytes]),
    copy(R1, R6),
    copy(R2, R10),
    add(R2, ROUTE),
    move(R3, FIB.size),
    move(R4, 0),
    call(CALL.route),
    jumpIf(R0, "≠", 0, "pass"),
    // Nothing is rewritten that cannot leave: an interface that is not in the map is not ours to send by.
    loadMap(R1, maps.interfaces),
    load(R2, 4, R10, ROUTE + FIB.interface),
    move(R3, XDP.pass),
    call(CALL.redirect),
    jumpIf(R0, "≠", XDP.redirect, "pass"),
    // UDP's checksum; over IPv4 there may be none.
    load(R5, 2, R7, udp + 6),
    jumpIf(R5, "=", 0, name("unsummed")),
    xor(R5, 0xffff),
    copy(R1, R7),
    add(R1, source),
    move(R2, headerPart),
    copy(R3, R9),
    add(R3, XDP_VALUE.header),
    move(R4, headerPart),
    call(CALL.checksumDifference),
    ...folded(R0),
    jumpIf(R0, "≠", 0, name("summed")),
    move(R0, 0xffff),
    label(name("summed")),
    store(2, R7, udp + 6, R0),
    label(name("unsummed")),
    ...copyWords(headerPart, [R7, source], [R9, XDP_VALUE.header]),
    storeNumber(1, R7, hops, HOPS),
    ...(four ? headerChecksum : []),
    // Ethernet addresses, in parts that are aligned on the stack.
    ...[0, 2, 4].flatMap((i) => [
      load(R5, 2, R10, ROUTE + FIB.mac + i),
      store(2, R7, i, R5),
      load(R5, 2, R10, ROUTE + FIB.ourMac + i),
      store(2, R7, 6 + i, R5),
    ]),
    load(R9, 2, R7, udp + 4),
    jump("sent"),
  ];
}

/** XdpMaps are descriptors: of circuits, of interfaces to send by, of the counter. */
export interface XdpMaps {
  readonly circuits: number;
  readonly interfaces: number;
  readonly counter: number;
}

/** relayProgram returns the program. */
export function relayProgram(maps: XdpMaps): Uint8Array<ArrayBuffer> {
  return assembleBpf(relayLines(maps));
}

/** relayLines are its instructions; other ones may stand before them. */
export function relayLines(maps: XdpMaps): readonly BpfLine[] {
  return [
    copy(R6, R1),
    load(R7, 4, R1, MD.data),
    load(R8, 4, R1, MD.end),
    copy(R4, R7),
    add(R4, ETHERNET),
    jumpIfBehind(R4, R8, "pass"),
    load(R5, 2, R7, 12),
    jumpIf(R5, "=", swapped(SIX.etherType), "six"),
    jumpIf(R5, "≠", swapped(FOUR.etherType), "pass"),
    ...familyLines(FOUR, maps),
    label("six"),
    ...familyLines(SIX, maps),
    label("sent"),
    // R9 is the length of the UDP datagram.
    swap16(R9),
    add(R9, -UDP_BYTES),
    storeNumber(8, R10, COUNTER_KEY, 0),
    loadMap(R1, maps.counter),
    copy(R2, R10),
    add(R2, COUNTER_KEY),
    call(CALL.lookup),
    jumpIf(R0, "=", 0, "redirect"),
    load(R5, 8, R0, XDP_COUNTER.datagrams),
    add(R5, 1),
    store(8, R0, XDP_COUNTER.datagrams, R5),
    load(R5, 8, R0, XDP_COUNTER.bytes),
    addRegister(R5, R9),
    store(8, R0, XDP_COUNTER.bytes, R5),
    label("redirect"),
    move(R0, XDP.redirect),
    exit,
    label("pass"),
    move(R0, XDP.pass),
    exit,
  ];
}

/** XdpPlace is where a node is, and the address of ours that it speaks to: 4 or 16 bytes each. */
export interface XdpPlace {
  readonly address: Uint8Array;
  readonly port: number;
  readonly local: Uint8Array;
}

/** circuitKey returns the key of a circuit. */
export function circuitKey({ address, port }: XdpPlace, index: number): Uint8Array {
  const key = stable(XDP_KEY.bytes);
  const view = new DataView(key.buffer);
  key.set(address, XDP_KEY.address);
  view.setUint16(XDP_KEY.port, port);
  view.setUint32(XDP_KEY.index, index, true);
  return key;
}

/** circuitValue returns whom it leads to; both have addresses of one family, and our port is one. */
export function circuitValue(source: XdpPlace, to: XdpPlace, port: number): Uint8Array {
  const value = stable(XDP_VALUE.bytes);
  const view = new DataView(value.buffer);
  const bytes = to.address.length;
  value.set(source.local, XDP_VALUE.local);
  view.setUint16(XDP_VALUE.localPort, port);
  view.setUint32(XDP_VALUE.family, bytes === 4 ? 2 : 10, true);
  value.set(to.local, XDP_VALUE.header);
  value.set(to.address, XDP_VALUE.header + bytes);
  view.setUint16(XDP_VALUE.header + 2 * bytes, port);
  view.setUint16(XDP_VALUE.header + 2 * bytes + 2, to.port);
  return value;
}
