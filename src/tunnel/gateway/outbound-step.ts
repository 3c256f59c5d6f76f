/**
 * From the private side to the public one: look at the packet, find its route, seal, send. All in the frame that it came in.
 *
 * ```
 * receive ─▶ plain: TTL, route, MTU ─▶ PacketGroups ─▶ sequence numbers, SealPass, AeadBatch ─▶ send
 *    └▶ any other: for us? …            └▶ ICMP errors
 *        └▶ ARP, ND, ICMP: Host
 * ```
 * What is most often so, IPv4 without options that can be forwarded, is looked at in one loop that calls nothing (`#plain`); it leaves all other
 * packets, untouched, to `#frame`, which could do the same. Order of checks and what is said of whom: sections 4.2 and 4.4 of Vita's
 * inventory, with RFC 1812. A packet allocates nothing.
 */
import { AEAD_TAG, AeadBatch, type Arena } from "../../sys/mod.ts";
import { ESP_HEAD_BYTES } from "../esp/mod.ts";
import { DONT_FRAGMENT, IP4, IP6, PROTOCOL } from "../path/ip-header.ts";
import { ETHER_TYPE, ETHERNET } from "../xdp/ethernet.ts";
import { signUdp6, UDP6_HEADERS } from "../xdp/udp6-sum.ts";
import type { Detour } from "./detour.ts";
import { countReceived } from "./counters.ts";
import type { GatewayContext } from "./gateway-context.ts";
import type { Outbound } from "./gateway-association.ts";
import type { FramePort } from "./frame-port.ts";
import type { GatewayRoute } from "./gateway-route.ts";
import { EXPIRED } from "./host.ts";
import { ICMP4, type IcmpError, UNREACHABLE4 } from "./icmp4.ts";
import { ICMP6 } from "./icmp6.ts";
import { decremented, decrementTtl, isSoundHeader4, PLAIN4, PLAIN4_AT, sum5 } from "./ip-forward.ts";
import { ETHER_TYPE_ARP } from "./neighbour.ts";
import { PacketGroups } from "./packet-groups.ts";
import { SealPass } from "./seal-pass.ts";
import { isForwardable4, isForwardable6 } from "./special-address.ts";

/** The first byte of link-local addresses, and of site-local ones. */
const LINK_LOCAL_6 = 0xfe;

/** OutboundStep works on what the private port received, and on what other queues hand over. */
export class OutboundStep {
  readonly #arena: Arena;
  readonly #context: GatewayContext;
  readonly #batch: AeadBatch;
  readonly #pass: SealPass;
  readonly #groups = new PacketGroups<Outbound>();
  /** Where the frames of this turn came from. */
  #port: FramePort;
  /** Whether routes of this turn have handed packets over. */
  #hasHanded = false;
  /** What is said of packets, filled in each time: a packet makes no objects. */
  readonly #refusal: { family: 4 | 6; error: IcmpError; nowMs: number } = {
    family: 4,
    error: EXPIRED[4],
    nowMs: 0,
  };
  readonly #asked: { family: 4 | 6; isIcmp: boolean; nowMs: number } = { family: 4, isIcmp: true, nowMs: 0 };
  readonly #tooBig = {
    4: { type: ICMP4.unreachable, code: UNREACHABLE4.tooBig, word: 0 },
    6: { type: ICMP6.tooBig, code: 0, word: 0 },
  };

  constructor(context: GatewayContext) {
    this.#arena = context.arena;
    this.#context = context;
    this.#port = context.privatePort;
    this.#batch = new AeadBatch(context.arena, "seal");
    this.#pass = new SealPass(this.#batch, context.publicPort.frames);
  }

  /** run takes the frames that the private port has received, and makes them leave. */
  run(count: number): void {
    const { privatePort } = this.#context;
    let bytes = 0;
    for (let i = 0; i < count; i++) bytes += privatePort.bytes(i);
    const { privateInterface } = this.#context.counters;
    privateInterface.rxpackets += count;
    privateInterface.rxbytes += bytes;
    this.#run(privatePort, count);
  }

  /** runHanded does the same with frames that other queues have handed over. They have been counted as received, and are handed to nobody else. */
  runHanded(inbox: FramePort, count: number): void {
    this.#run(inbox, count);
  }

  #run(port: FramePort, count: number): void {
    this.#port = port;
    for (let i = this.#plain(0, count); i < count; i = this.#plain(i + 1, count))
      this.#frame(port.at(i), port.bytes(i));
    this.finish();
    if (this.#hasHanded) this.#flushDetours();
    this.#context.privatePort.flush();
  }

  #flushDetours(): void {
    this.#hasHanded = false;
    for (const detour of this.#context.detours) this.#flush(detour);
  }

  #flush(detour: Detour): void {
    const lost = detour.flush();
    const { privateRouter } = this.#context.counters;
    privateRouter.routeErrors += lost;
    privateRouter.unready += lost;
  }

  /** Adds packets from `first` on, up to one that is to be looked at more closely, and returns which that is; `count` after the last. */
  #plain(first: number, count: number): number {
    const context = this.#context;
    const { book } = context;
    const port = this.#port;
    const { view, u8 } = this.#arena;
    const groups = this.#groups;
    const four = context.privateHost.side.four;
    const outside = context.publicHost.side.four;
    if (four === undefined) return first;
    // Packets of one flow come in a row: what is found for one holds for the next.
    let lastSource = 0;
    let lastTarget = 0;
    let outbound: Outbound | undefined;
    let mostBytes = 0;
    for (let i = first; i < count; i++) {
      const at = port.at(i);
      const room = port.bytes(i) - ETHERNET.bytes;
      const ip = at + ETHERNET.bytes;
      if (room < IP4.bytes || groups.isFull || !context.isForPrivate(at)) return i;
      if (view.getInt32(at + PLAIN4_AT) >>> 8 !== PLAIN4) return i;
      const lead = view.getInt32(ip);
      const life = view.getInt32(ip + IP4.ttl);
      const source = view.getInt32(ip + IP4.source);
      const target = view.getInt32(ip + IP4.target);
      const total = lead & 0xffff;
      if (total < IP4.bytes || total > room || life >>> 24 <= 1) return i;
      if (sum5(lead, view.getInt32(ip + IP4.id), life, source, target) !== 0xffff) return i;
      if (source !== lastSource || target !== lastTarget) {
        if (!isForwardable4(source) || !isForwardable4(target)) return i;
        if (four.own.isWord(source) || four.own.isWord(target) || outside?.own.isWord(source) === true)
          return i;
        const index = book.four.find(u8, ip + IP4.target);
        if (index < 0) return i;
        const route = book.route(index);
        outbound = route.detour === undefined ? route.outbound : undefined;
        mostBytes = route.mtuBytes;
        lastSource = source;
        lastTarget = target;
      }
      if (outbound === undefined || total > mostBytes) return i;
      view.setInt32(ip + IP4.ttl, decremented(life));
      groups.add(outbound, ip, total);
    }
    return count;
  }

  #frame(at: number, bytes: number): void {
    const { counters, privateHost } = this.#context;
    const { view } = this.#arena;
    if (bytes < ETHERNET.bytes) {
      counters.privateDispatch.ethertypeErrors++;
      return;
    }
    countReceived(this.#arena, at, counters.privateInterface);
    const type = view.getUint16(at + ETHERNET.type);
    if (type === ETHER_TYPE.ip4) this.#four(at, bytes - ETHERNET.bytes);
    else if (type === ETHER_TYPE.ip6) this.#six(at, bytes - ETHERNET.bytes);
    else if (type === ETHER_TYPE_ARP) privateHost.neighbour.arp(at, bytes);
    else counters.privateDispatch.ethertypeErrors++;
  }

  #four(at: number, room: number): void {
    const { counters, privateHost, book } = this.#context;
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
    const header = ((u8[ip] as number) & 15) * 4;
    if (!isSoundHeader4(this.#arena, ip, room)) {
      counters.outboundTtl.checksumErrors++;
      return;
    }
    if (total < header) {
      counters.outboundTtl.protocolErrors++;
      return;
    }
    if (!this.#mayCome4(view.getInt32(ip + IP4.source))) {
      counters.privateRouter.refusedAddress++;
      return;
    }
    if (four.own.is4(view, ip + IP4.target)) {
      // One that says it is longer than it is: what is there is answered, as by Vita.
      this.#answer(at, Math.min(total, room), 4, u8[ip + IP4.protocol] === ICMP4.protocol);
      return;
    }
    if (total > room) {
      counters.outboundTtl.protocolErrors++;
      return;
    }
    if (!isForwardable4(view.getInt32(ip + IP4.target))) {
      counters.privateRouter.refusedAddress++;
      return;
    }
    if ((u8[ip + IP4.ttl] as number) <= 1) {
      this.#refuse(at, total, 4, EXPIRED[4]);
      return;
    }
    // A packet that may be fragmented is dropped too when it is too long, without a word: the gateway makes no fragments.
    const isTold = (view.getUint16(ip + IP4.fragment) & DONT_FRAGMENT) !== 0;
    const outbound = this.#way(book.four.find(u8, ip + IP4.target), at, total, isTold ? 4 : 0);
    if (outbound === undefined) return;
    decrementTtl(view, ip);
    this.#add(outbound, ip, total);
  }

  #six(at: number, room: number): void {
    const { counters, privateHost, book } = this.#context;
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
    if (!this.#mayCome6(ip + IP6.source)) {
      counters.privateRouter.refusedAddress++;
      return;
    }
    if (six.own.is6(view, ip + IP6.target)) {
      this.#answer(at, total, 6, isIcmp);
      return;
    }
    if (!isForwardable6(view, ip + IP6.target) || !isForwardable6(view, ip + IP6.source)) {
      counters.privateRouter.refusedAddress++;
      return;
    }
    if ((u8[ip + IP6.hops] as number) <= 1) {
      this.#refuse(at, total, 6, EXPIRED[6]);
      return;
    }
    const outbound = this.#way(book.six.find(u8, ip + IP6.target), at, total, 6);
    if (outbound === undefined) return;
    u8[ip + IP6.hops] = (u8[ip + IP6.hops] as number) - 1;
    this.#add(outbound, ip, total);
  }

  /** Whether a packet may come from an address: not one that nobody sends from, and none of our own (RFC 1812 section 5.3.7). */
  #mayCome4(source: number): boolean {
    const { privateHost, publicHost } = this.#context;
    if (!isForwardable4(source) || privateHost.side.four?.own.isWord(source) === true) return false;
    return publicHost.side.four?.own.isWord(source) !== true;
  }

  /** The same for IPv6; link-local addresses are answered on the link. */
  #mayCome6(source: number): boolean {
    const { privateHost, publicHost } = this.#context;
    const { view, u8 } = this.#arena;
    if (u8[source] !== LINK_LOCAL_6 && !isForwardable6(view, source)) return false;
    if (privateHost.side.six?.own.is6(view, source) === true) return false;
    return publicHost.side.six?.own.is6(view, source) !== true;
  }

  /** What a packet leaves by that a search found a route for; nothing where it does not, which is counted and, to `told`, said. */
  #way(index: number, at: number, total: number, told: 0 | 4 | 6): Outbound | undefined {
    const { counters, book } = this.#context;
    if (index < 0) {
      counters.privateRouter.routeErrors++;
      return undefined;
    }
    const route = book.route(index);
    if (total > route.mtuBytes) {
      this.#tooLong(route);
      if (told !== 0) {
        const error = this.#tooBig[told];
        error.word = route.mtuBytes;
        this.#refuse(at, total, told, error);
      }
      return undefined;
    }
    if (route.detour !== undefined && this.#port === this.#context.privatePort) {
      this.#hand(route.detour, at, ETHERNET.bytes + total);
      return undefined;
    }
    if (route.outbound === undefined) this.#unready(route);
    return route.outbound;
  }

  /** Hands a frame over, as it came. */
  #hand(detour: Detour, at: number, bytes: number): void {
    if (detour.isFull) this.#flush(detour);
    detour.add(at, bytes);
    this.#hasHanded = true;
  }

  /** Answers a packet to the gateway itself, on the link. */
  #answer(at: number, total: number, family: 4 | 6, isIcmp: boolean): void {
    const asked = this.#asked;
    asked.family = family;
    asked.isIcmp = isIcmp;
    asked.nowMs = this.#context.nowMs;
    this.#context.privateHost.answer(at, total, asked);
  }

  /** Says on the link what is wrong with a packet. */
  #refuse(at: number, total: number, family: 4 | 6, error: IcmpError): void {
    const refusal = this.#refusal;
    refusal.family = family;
    refusal.error = error;
    refusal.nowMs = this.#context.nowMs;
    this.#context.privateHost.refuse(at, total, refusal);
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
    const { counters, publicHost, framing } = context;
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
    const pass = this.#pass;
    // With TFC all packets of a route are as long as its MTU.
    const leastBytes = framing.tfcBytes === 0 ? 0 : outbound.route.mtuBytes;
    pass.fill(outbound, this.#groups, first, leastBytes);
    counters.publicInterface.txdrop += pass.dropped;
    if (pass.refused > 0) context.exhausted(outbound, pass.refused);
    outbound.association.sealKey.run(this.#batch);
    outbound.route.txdrop += this.#batch.count - this.#send(outbound.headerBytes);
    context.sealed(outbound, this.#batch.count, pass.bytes);
    if (first + this.#batch.count > outbound.warnAt) context.runningOut(outbound);
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
