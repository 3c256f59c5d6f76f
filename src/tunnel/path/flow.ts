/**
 * Flow: what decides whether one received TCP or UDP packet continues another, so that both can go to the kernel as one.
 *
 * The rules are those of the kernel's GRO (net/ipv4/af_inet.c inet_gro_receive, tcp_offload.c tcp_gro_receive, udp_offload.c) and stricter:
 * same addresses, ports, TTL and service; no IP options, no fragments; TCP with nothing but ACK and PSH, same acknowledgement, window and
 * options. Then the kernel's segmentation gives back what came, but for IPv4 identifications of packets that must not be fragmented, which
 * mean nothing (RFC 6864).
 */
import type { Arena } from "../../sys/mod.ts";
import { FLAG, IP4, IP6, MORE_OR_OFFSET, PROTOCOL, TCP, UDP } from "./ip-header.ts";

/** Version 4, five words. */
const WITHOUT_OPTIONS = 0x45;

/** What a packet is to the coalescer. */
export const KIND = {
  /** Neither joined nor in the way of others: ICMP and the like. */
  other: 0,
  /** A fragment, or something behind options: its ports are unknown, so it could belong to any flow. */
  unknown: 1,
  /** Belongs to a flow, cannot be joined, and what follows must not pass it. */
  barrier: 2,
  /** Can be joined. */
  data: 3,
} as const;

/** FlowReader reads one packet at a time; the fields are those of the last. */
export class FlowReader {
  kind: number = KIND.other;
  /** Where the transport header begins, and the payload, counted from the packet. */
  transport = 0;
  header = 0;
  payload = 0;
  protocol = 0;
  family = 4;
  /** A number that is equal for packets of one flow. */
  hash = 0;
  readonly #arena: Arena;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** read looks at a packet whose IP header is whole and whose length is `length`. */
  read(at: number, length: number): void {
    const { u8, view } = this.#arena;
    this.kind = KIND.other;
    this.family = (u8[at] as number) >>> 4;
    let words = 0;
    if (this.family === 4) {
      this.transport = IP4.bytes;
      this.protocol = u8[at + IP4.protocol] as number;
      if (this.protocol !== PROTOCOL.tcp && this.protocol !== PROTOCOL.udp) return;
      const whole = (view.getUint16(at + IP4.fragment) & MORE_OR_OFFSET) === 0;
      if (u8[at] !== WITHOUT_OPTIONS || !whole) {
        this.kind = KIND.unknown;
        return;
      }
      words = view.getInt32(at + IP4.source, true) ^ view.getInt32(at + IP4.target, true);
    } else {
      this.transport = IP6.bytes;
      this.protocol = u8[at + IP6.next] as number;
      for (let i = IP6.source; i < IP6.bytes; i += 4)
        words = Math.imul(words, 31) ^ view.getInt32(at + i, true);
      if (this.protocol !== PROTOCOL.tcp && this.protocol !== PROTOCOL.udp) {
        if (this.protocol !== PROTOCOL.icmp6) this.kind = KIND.unknown;
        return;
      }
    }
    const room = length - this.transport;
    if (room < UDP.bytes) return;
    const transport = at + this.transport;
    this.hash = Math.imul(words ^ view.getInt32(transport, true) ^ this.protocol, 0x9e3779b1) >>> 0;
    this.kind = KIND.barrier;
    if (this.protocol === PROTOCOL.tcp) this.#readTcp(transport, room);
    else this.#readUdp(transport, room);
  }

  #readTcp(transport: number, room: number): void {
    const { u8 } = this.#arena;
    if (room < TCP.bytes) return;
    const header = ((u8[transport + TCP.offset] as number) >>> 4) * 4;
    if (header < TCP.bytes || header >= room) return;
    if (((u8[transport + TCP.flags] as number) & ~FLAG.psh) !== FLAG.ack) return;
    this.header = this.transport + header;
    this.payload = room - header;
    this.kind = KIND.data;
  }

  #readUdp(transport: number, room: number): void {
    const { view } = this.#arena;
    if (view.getUint16(transport + UDP.length) !== room || room === UDP.bytes) return;
    // Without a checksum nothing tells whether it is whole.
    if (view.getUint16(transport + UDP.checksum) === 0) return;
    this.header = this.transport + UDP.bytes;
    this.payload = room - UDP.bytes;
    this.kind = KIND.data;
  }
}

/** sameHeaders tells whether the headers of two packets of one kind differ in nothing but what counts up. */
export function sameHeaders(arena: Arena, a: number, b: number, reader: FlowReader): boolean {
  const { view } = arena;
  if (reader.family === 4) {
    // Version, length and service; then the fragment bits, TTL and protocol; then the addresses.
    if (
      view.getUint16(a, true) !== view.getUint16(b, true) ||
      ((view.getInt32(a + IP4.fragment, true) ^ view.getInt32(b + IP4.fragment, true)) | 0) !== 0 ||
      view.getInt32(a + IP4.source, true) !== view.getInt32(b + IP4.source, true) ||
      view.getInt32(a + IP4.target, true) !== view.getInt32(b + IP4.target, true)
    )
      return false;
  } else {
    if (
      view.getInt32(a, true) !== view.getInt32(b, true) ||
      view.getUint16(a + IP6.next, true) !== view.getUint16(b + IP6.next, true)
    )
      return false;
    for (let i = IP6.source; i < IP6.bytes; i += 4)
      if (view.getInt32(a + i, true) !== view.getInt32(b + i, true)) return false;
  }
  // Not as an array: for each packet, that would be garbage.
  const from = a + reader.transport;
  const to = b + reader.transport;
  if (view.getInt32(from, true) !== view.getInt32(to, true)) return false;
  if (reader.protocol === PROTOCOL.udp) return true;
  if (
    view.getInt32(from + TCP.acknowledgement, true) !== view.getInt32(to + TCP.acknowledgement, true) ||
    (view.getInt32(from + TCP.offset) & ~(FLAG.psh << 16)) !==
      (view.getInt32(to + TCP.offset) & ~(FLAG.psh << 16)) ||
    view.getUint16(from + TCP.urgent, true) !== view.getUint16(to + TCP.urgent, true)
  )
    return false;
  for (let i = TCP.bytes; i < reader.header - reader.transport; i += 4)
    if (view.getInt32(from + i, true) !== view.getInt32(to + i, true)) return false;
  return true;
}
