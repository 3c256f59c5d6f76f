/**
 * UDP of the public side: messages of a key exchange, to and from whoever keeps the keys, and ESP in UDP (RFC 3948).
 *
 * ```
 * port of the exchange:       | UDP | message |
 * port of the encapsulation:  | UDP | ESP |     | UDP | 00 00 00 00 | message |     | UDP | ff |  keepalive: nothing
 * ```
 */
import { type Ip, ipBytes, ipFromBytes } from "../../net/mod.ts";
import { NAT_KEEPALIVE, NON_ESP_MARKER_BYTES } from "../esp/mod.ts";
import { fold32, swap16 } from "../path/checksum.ts";
import { IP4, IP6, PROTOCOL, UDP } from "../path/ip-header.ts";
import { ETHERNET } from "../xdp/ethernet.ts";
import type { GatewayContext } from "./gateway-context.ts";
import { signHeader4 } from "./icmp-checksum.ts";
import { SenderBudget } from "./sender-budget.ts";

/** ExchangePorts are the UDP ports of the public side. */
export interface ExchangePorts {
  /** Messages without a marker; Vita's is 303. */
  readonly exchange?: number;
  /** ESP in UDP, and messages behind the non-ESP marker; usually 4500. */
  readonly encapsulation?: number;
}

/** What a datagram is: one to open, one that was taken or dropped, or nobody's. */
export type ExchangeKind = "esp" | "taken" | "other";

/** Longest message. */
const MOST_MESSAGE = 1200;
const HOP_LIMIT = 64;
/** A message begins with the number of its route. */
const ROUTE_BYTES = 4;

/** Exchange reads one datagram at a time. */
export class Exchange {
  /** Where the ESP packet of the last datagram is. */
  at = 0;
  bytes = 0;
  readonly #context: GatewayContext;
  /** Between turns they may become others. */
  ports: ExchangePorts;
  readonly #budget = new SenderBudget();

  constructor(context: GatewayContext, ports: ExchangePorts) {
    this.#context = context;
    this.ports = ports;
  }

  /** read takes the UDP datagram behind an IP header of so many bytes; `at` and `bytes` are set for ESP. */
  read(ip: number, header: number, total: number): ExchangeKind {
    const { view, u8 } = this.#context.arena;
    const udp = ip + header;
    const room = total - header;
    if (room < UDP.bytes) return "other";
    const port = view.getUint16(udp + 2);
    const { exchange, encapsulation } = this.ports;
    if (port !== exchange && port !== encapsulation) return "other";
    const length = view.getUint16(udp + UDP.length);
    if (length < UDP.bytes || length > room) return this.#garbled();
    this.at = udp + UDP.bytes;
    this.bytes = length - UDP.bytes;
    let marker = 0;
    if (port === encapsulation) {
      if (this.bytes === 1 && u8[this.at] === NAT_KEEPALIVE) return "taken";
      if (this.bytes < NON_ESP_MARKER_BYTES) return this.#garbled();
      // Its checksum may be absent (section 2.1), and what is in there is authenticated.
      if (view.getInt32(this.at) !== 0) return "esp";
      marker = NON_ESP_MARKER_BYTES;
    } else if (!this.#isSound(ip, udp, length)) return this.#garbled();
    this.#pass(ip, udp, marker);
    return "taken";
  }

  #garbled(): ExchangeKind {
    this.#context.counters.publicDispatch.protocolErrors++;
    return "taken";
  }

  /** Whether a datagram has a checksum, and the right one. */
  #isSound(ip: number, udp: number, length: number): boolean {
    const { arena } = this.#context;
    return arena.view.getUint16(udp + UDP.checksum) !== 0 && this.#sum(ip, udp, length) === 0xffff;
  }

  /** The sum over a datagram with its pseudo-header (RFC 768, RFC 8200 section 8.1). */
  #sum(ip: number, udp: number, length: number): number {
    const { arena, sum } = this.#context;
    const addresses =
      (arena.u8[ip] as number) >>> 4 === 4 ? sum.sum(ip + IP4.source, 8) : sum.sum(ip + IP6.source, 32);
    return fold32(sum.sum(udp, length) + addresses + swap16(length) + swap16(PROTOCOL.udp));
  }

  /** Passes a message on. */
  #pass(ip: number, udp: number, marker: number): void {
    const { arena, counters, nowMs } = this.#context;
    const four = (arena.u8[ip] as number) >>> 4 === 4;
    const at = ip + (four ? IP4.source : IP6.source);
    const route = this.bytes - marker < ROUTE_BYTES ? 0 : arena.view.getUint32(this.at + marker);
    const from = { bytes: arena.u8, at, length: four ? 4 : 16, route };
    if (this.bytes - marker > MOST_MESSAGE || !this.#budget.take(from, nowMs)) {
      counters.exchange.limited++;
      return;
    }
    counters.exchange.received++;
    const address = (at: number) => ipFromBytes(arena.copy(at, four ? 4 : 16));
    this.#context.tell({
      kind: "exchange",
      from: address(at),
      to: address(ip + (four ? IP4.target : IP6.target)),
      fromPort: arena.view.getUint16(udp),
      toPort: arena.view.getUint16(udp + 2),
      bytes: arena.copy(this.at + marker, this.bytes - marker),
    });
  }

  /** send sends a message; one that cannot leave now is lost, as on any network. Throws for what could never be sent. */
  send(message: { to: Ip; toPort: number; fromPort: number; bytes: Uint8Array }): void {
    const { to, toPort, fromPort, bytes } = message;
    const { arena, publicHost, publicPort, counters } = this.#context;
    const family = publicHost.side.family(to.family);
    if (family === undefined)
      throw new Error(`Cannot send a message: the public side has no IPv${to.family} address; give it one`);
    if (bytes.length > MOST_MESSAGE)
      throw new RangeError(`Cannot send a message of ${bytes.length} bytes: at most ${MOST_MESSAGE} can be`);
    const at = family.isResolved ? publicPort.frames.take() : 0;
    if (at === 0) {
      counters.publicInterface.txdrop++;
      return;
    }
    const marker = fromPort === this.ports.encapsulation ? NON_ESP_MARKER_BYTES : 0;
    const { view, u8 } = arena;
    const ip = at + ETHERNET.bytes;
    const length = UDP.bytes + marker + bytes.length;
    family.lay(view, at);
    const header = to.family === 4 ? IP4.bytes : IP6.bytes;
    const udp = ip + header;
    if (to.family === 4) this.#header4(ip, header + length, family.own.bytes, ipBytes(to));
    else {
      view.setInt32(ip, 0x6000_0000);
      view.setUint16(ip + IP6.payload, length);
      u8[ip + IP6.next] = PROTOCOL.udp;
      u8[ip + IP6.hops] = HOP_LIMIT;
      u8.set(family.own.bytes, ip + IP6.source);
      u8.set(ipBytes(to), ip + IP6.target);
    }
    view.setUint16(udp, fromPort);
    view.setUint16(udp + 2, toPort);
    view.setUint16(udp + UDP.length, length);
    view.setUint16(udp + UDP.checksum, 0);
    u8.fill(0, udp + UDP.bytes, udp + UDP.bytes + marker);
    u8.set(bytes, udp + UDP.bytes + marker);
    const sum = ~this.#sum(ip, udp, length) & 0xffff;
    // Zero would mean that there is none (RFC 768).
    view.setUint16(udp + UDP.checksum, sum === 0 ? 0xffff : sum, true);
    this.#noteSent(to, bytes);
    if (publicPort.send(at, ETHERNET.bytes + header + length)) counters.exchange.sent++;
    else publicPort.frames.give(at);
    publicPort.flush();
  }

  #noteSent(to: Ip, message: Uint8Array): void {
    if (message.length < ROUTE_BYTES) return;
    const bytes = ipBytes(to);
    const route = new DataView(message.buffer, message.byteOffset).getUint32(0);
    this.#budget.sentTo({ bytes, at: 0, length: bytes.length, route });
  }

  #header4(ip: number, total: number, from: Uint8Array, to: Uint8Array): void {
    const { arena } = this.#context;
    const { view, u8 } = arena;
    u8[ip] = 0x45;
    u8[ip + IP4.service] = 0;
    view.setUint16(ip + IP4.total, total);
    view.setUint16(ip + IP4.id, 0);
    view.setUint16(ip + IP4.fragment, 0);
    u8[ip + IP4.ttl] = HOP_LIMIT;
    u8[ip + IP4.protocol] = PROTOCOL.udp;
    u8.set(from, ip + IP4.source);
    u8.set(to, ip + IP4.target);
    signHeader4(arena, ip);
  }
}
