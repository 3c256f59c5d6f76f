/**
 * From the private side to the public one: look at the packet, find its route, seal, send. All in the frame that it came in.
 *
 * ```
 * receive ─▶ for us? TTL ─▶ route, MTU ─▶ PacketGroups ─▶ sequence numbers, AeadBatch ─▶ outer headers ─▶ send
 *    └▶ ARP, ND, ICMP: Host            └▶ ICMP errors
 * ```
 * Order of checks and what is said of whom: sections 4.2 and 4.4 of Vita's inventory, with RFC 1812. A packet allocates nothing.
 */
import { AEAD_TAG, AeadBatch, type Arena } from "../../sys/mod.ts";
import { ESP_HEAD_BYTES, type EspFraming } from "../esp/mod.ts";
import { DONT_FRAGMENT, IP4, IP6, PROTOCOL } from "../path/ip-header.ts";
import { ETHER_TYPE, ETHERNET } from "../xdp/ethernet.ts";
import { signUdp6, UDP6_HEADERS } from "../xdp/udp6-sum.ts";
import { layXdpHeader } from "../xdp/xdp-endpoint.ts";
import type { GatewayContext } from "./gateway-context.ts";
import type { Outbound } from "./gateway-association.ts";
import type { GatewayRoute } from "./gateway-route.ts";
import { EXPIRED } from "./host.ts";
import { ICMP4, UNREACHABLE4 } from "./icmp4.ts";
import { ICMP6 } from "./icmp6.ts";
import { decrementTtl, isSoundHeader4 } from "./ip-forward.ts";
import { ETHER_TYPE_ARP } from "./neighbour.ts";
import { PacketGroups } from "./packet-groups.ts";

/** OutboundStep works on what the private port received. */
export class OutboundStep {
  readonly #arena: Arena;
  readonly #context: GatewayContext;
  readonly #framing: EspFraming;
  readonly #batch: AeadBatch;
  readonly #groups = new PacketGroups<Outbound>();

  constructor(context: GatewayContext) {
    this.#arena = context.arena;
    this.#context = context;
    this.#framing = context.framing;
    this.#batch = new AeadBatch(context.arena, "seal");
  }

  /** run takes the frames that the private port has received, and makes them leave. */
  run(count: number): void {
    const { privatePort } = this.#context;
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      bytes += privatePort.bytes(i);
      this.#frame(privatePort.at(i), privatePort.bytes(i));
    }
    const { privateInterface } = this.#context.counters;
    privateInterface.rxpackets += count;
    privateInterface.rxbytes += bytes;
    this.finish();
    privatePort.flush();
  }

  #frame(at: number, bytes: number): void {
    const { counters, privateHost } = this.#context;
    const { view } = this.#arena;
    if (bytes < ETHERNET.bytes) {
      counters.privateDispatch.ethertypeErrors++;
      return;
    }
    const type = view.getUint16(at + ETHERNET.type);
    if (type === ETHER_TYPE.ip4) this.#four(at, bytes - ETHERNET.bytes);
    else if (type === ETHER_TYPE.ip6) this.#six(at, bytes - ETHERNET.bytes);
    else if (type === ETHER_TYPE_ARP) privateHost.neighbour.arp(at, bytes);
    else counters.privateDispatch.ethertypeErrors++;
  }

  #four(at: number, room: number): void {
    const { counters, privateHost, book, nowMs } = this.#context;
    const { view, u8 } = this.#arena;
    const four = privateHost.side.four;
    if (four === undefined || room < IP4.bytes || (u8[at + ETHERNET.bytes] as number) >>> 4 !== 4) {
      counters.privateDispatch.ethertypeErrors++;
      return;
    }
    if (!this.#context.isForPrivate(at)) {
      counters.privateInterface.notOurs++;
      return;
    }
    const ip = at + ETHERNET.bytes;
    const total = view.getUint16(ip + IP4.total);
    if (!isSoundHeader4(this.#arena, ip, room)) {
      counters.outboundTtl.checksumErrors++;
      return;
    }
    if (four.own.is4(view, ip + IP4.target)) {
      const isIcmp = u8[ip + IP4.protocol] === ICMP4.protocol;
      // One that says it is longer than it is: what is there is answered, as by Vita.
      privateHost.answer(at, Math.min(total, room), { family: 4, isIcmp, nowMs });
      return;
    }
    if (total > room || total < IP4.bytes) {
      counters.outboundTtl.protocolErrors++;
      return;
    }
    if ((u8[ip + IP4.ttl] as number) <= 1) {
      privateHost.refuse(at, total, { family: 4, error: EXPIRED[4], nowMs });
      return;
    }
    const index = book.four.find(u8, ip + IP4.target);
    if (index < 0) {
      counters.privateRouter.routeErrors++;
      return;
    }
    const route = book.route(index);
    if (total > route.mtuBytes) {
      this.#tooLong(route);
      // A packet that may be fragmented is dropped all the same: the gateway makes no fragments.
      if ((view.getUint16(ip + IP4.fragment) & DONT_FRAGMENT) === 0) return;
      const error = { type: ICMP4.unreachable, code: UNREACHABLE4.tooBig, word: route.mtuBytes };
      privateHost.refuse(at, total, { family: 4, error, nowMs });
      return;
    }
    const outbound = route.outbound;
    if (outbound === undefined) {
      this.#unready(route);
      return;
    }
    decrementTtl(view, ip);
    this.#add(outbound, ip, total);
  }

  #six(at: number, room: number): void {
    const { counters, privateHost, book, nowMs } = this.#context;
    const { view, u8 } = this.#arena;
    const ip = at + ETHERNET.bytes;
    const six = privateHost.side.six;
    if (six === undefined || room < IP6.bytes || (u8[ip] as number) >>> 4 !== 6) {
      counters.privateDispatch.ethertypeErrors++;
      return;
    }
    const total = IP6.bytes + view.getUint16(ip + IP6.payload);
    const isIcmp = u8[ip + IP6.next] === PROTOCOL.icmp6;
    if (isIcmp && total <= room && privateHost.neighbour.isDiscovery(ip, total)) {
      privateHost.neighbour.discovery(at, total);
      return;
    }
    if (!this.#context.isForPrivate(at)) {
      counters.privateInterface.notOurs++;
      return;
    }
    if (total > room) {
      if (isIcmp && six.own.is6(view, ip + IP6.target)) counters.privateIcmp6.protocolErrors++;
      else counters.outboundTtl.protocolErrors++;
      return;
    }
    if (six.own.is6(view, ip + IP6.target)) {
      privateHost.answer(at, total, { family: 6, isIcmp, nowMs });
      return;
    }
    if ((u8[ip + IP6.hops] as number) <= 1) {
      privateHost.refuse(at, total, { family: 6, error: EXPIRED[6], nowMs });
      return;
    }
    const index = book.six.find(u8, ip + IP6.target);
    if (index < 0) {
      counters.privateRouter.routeErrors++;
      return;
    }
    const route = book.route(index);
    if (total > route.mtuBytes) {
      this.#tooLong(route);
      const error = { type: ICMP6.tooBig, code: 0, word: route.mtuBytes };
      privateHost.refuse(at, total, { family: 6, error, nowMs });
      return;
    }
    const outbound = route.outbound;
    if (outbound === undefined) {
      this.#unready(route);
      return;
    }
    u8[ip + IP6.hops] = (u8[ip + IP6.hops] as number) - 1;
    this.#add(outbound, ip, total);
  }

  #tooLong(route: GatewayRoute): void {
    this.#context.counters.privateRouter.mtuErrors++;
    route.mtuErrors++;
  }

  #unready(route: GatewayRoute): void {
    const { privateRouter } = this.#context.counters;
    privateRouter.routeErrors++;
    privateRouter.unready++;
    route.unready++;
  }

  /** forward sends a packet of the gateway's own through the tunnel: an answer or an error that lies in a received frame. */
  forward(ip: number, total: number, family: 4 | 6): void {
    const { book, counters } = this.#context;
    const { u8 } = this.#arena;
    const index = family === 4 ? book.four.find(u8, ip + IP4.target) : book.six.find(u8, ip + IP6.target);
    if (index < 0) {
      counters.privateRouter.routeErrors++;
      return;
    }
    const route = book.route(index);
    if (total > route.mtuBytes) this.#tooLong(route);
    else if (route.outbound === undefined) this.#unready(route);
    else this.#add(route.outbound, ip, total);
  }

  #add(outbound: Outbound, ip: number, total: number): void {
    if (this.#groups.isFull) this.finish();
    this.#groups.add(outbound, ip, total);
  }

  /** finish seals and sends what was added. */
  finish(): void {
    const groups = this.#groups;
    if (groups.owners === 0) return;
    for (let i = 0; i < groups.owners; i++) this.#seal(groups.owner(i));
    groups.clear();
    this.#context.publicPort.flush();
  }

  /** Seals the packets of one association. */
  #seal(outbound: Outbound): void {
    const context = this.#context;
    const groups = this.#groups;
    const framing = this.#framing;
    const batch = this.#batch;
    const { counters, publicHost, publicPort } = context;
    const { count } = outbound.group;
    const hop = publicHost.side.family(outbound.to.family);
    if (hop === undefined || !hop.isResolved) {
      counters.publicInterface.unresolved += count;
      return;
    }
    const first = outbound.isUsable(context.nowMs) ? outbound.association.claim(count) : -1;
    if (first < 0) {
      context.exhausted(outbound, count);
      return;
    }
    const isNear = outbound.isNear(count);
    const { frames } = publicPort;
    const { association, headerBytes, endpoint } = outbound;
    const arena = this.#arena;
    let sequence = first;
    let bytes = 0;
    batch.clear();
    for (let packet = outbound.group.first; packet >= 0; packet = groups.next(packet)) {
      const esp = groups.at(packet) - ESP_HEAD_BYTES;
      const total = groups.bytes(packet);
      const espBytes = framing.frameBytes(total);
      // Written to behind the packet: padding, trailer and tag must fit into its frame.
      if (espBytes > frames.roomAt(esp)) {
        counters.publicInterface.txdrop++;
        continue;
      }
      if (isNear && !outbound.admits(batch.count + 1, bytes + total)) {
        context.exhausted(outbound, 1);
        continue;
      }
      framing.seal(batch, esp, total, association, sequence++);
      layXdpHeader(arena, endpoint, esp - headerBytes, espBytes);
      bytes += total;
    }
    association.sealKey.run(batch);
    outbound.route.txdrop += batch.count - this.#send(headerBytes);
    context.sealed(outbound, batch.count, bytes);
    if (sequence > outbound.warnAt) context.runningOut(outbound);
  }

  /** Sends what was sealed, with its outer headers; returns how many frames left. */
  #send(headerBytes: number): number {
    const batch = this.#batch;
    const { publicPort, counters, sum } = this.#context;
    const { publicInterface } = counters;
    const { view } = this.#arena;
    const around = headerBytes + ESP_HEAD_BYTES;
    let sent = 0;
    let bytes = 0;
    for (let i = 0; i < batch.count; i++) {
      const frame = batch.textAt(i) - around;
      const frameBytes = around + batch.lengthOf(i) + AEAD_TAG;
      if (headerBytes === UDP6_HEADERS) signUdp6(view, sum, frame);
      if (!publicPort.send(frame, frameBytes)) {
        publicPort.flush();
        if (!publicPort.send(frame, frameBytes)) continue;
      }
      sent++;
      bytes += frameBytes;
    }
    publicInterface.txpackets += sent;
    publicInterface.txbytes += bytes;
    publicInterface.txdrop += batch.count - sent;
    return sent;
  }
}
