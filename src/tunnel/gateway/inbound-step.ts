/**
 * From the public side to the private one: look at the packet, find its association, open, check who may send it, send. All in the frame that it
 * came in.
 *
 * ```
 * receive ─▶ plain: for us, ESP: SPI ─▶ PacketGroups ─▶ OpenPass: window ─▶ AeadBatch ─▶ window ─▶ plain: route's prefixes, TTL ─▶ send
 *    └▶ any other: fragment? …     └▶ key exchange                                                └▶ any other: for us, errors: through
 *        └▶ ARP, ND, ICMP: Host                                                                       the tunnel
 * ```
 * As in outbound-step.ts, what is most often so goes by loops that call nothing, before (`#plain`) and behind the AEAD (`#passPlain`): ESP in IPv4
 * without options, and in it IPv4 without options. All other packets are left, untouched, to `#frame` and `#packet`, which could do the same.
 * Order of checks: section 4.3 of Vita's inventory. What Vita lacks: a packet must be from an address of its association's route (RFC 4301
 * section 5.2), and ESP must be for our own address. Only what is authentic changes anything. A packet allocates nothing.
 */
import { AEAD_BATCH, AEAD_TAG, AeadBatch, type Arena } from "../../sys/mod.ts";
import { acceptNext, acceptSequence, ESP_HEAD_BYTES, type EspFraming } from "../esp/mod.ts";
import { IP4, IP6, MORE_OR_OFFSET, PROTOCOL } from "../path/ip-header.ts";
import { ETHER_TYPE, ETHERNET } from "../xdp/ethernet.ts";
import type { Exchange } from "./exchange.ts";
import type { Inbound } from "./gateway-association.ts";
import { countReceived } from "./counters.ts";
import type { GatewayContext } from "./gateway-context.ts";
import { EXPIRED, UNKNOWN_PROTOCOL } from "./host.ts";
import { ICMP4, type IcmpError } from "./icmp4.ts";
import { decremented, decrementTtl, isSoundHeader4, PLAIN4, PLAIN4_AT, sum5 } from "./ip-forward.ts";
import { ETHER_TYPE_ARP } from "./neighbour.ts";
import { OpenPass } from "./open-pass.ts";
import type { OutboundStep } from "./outbound-step.ts";
import { PacketGroups } from "./packet-groups.ts";
import type { SideFamily } from "./side.ts";
import { isForwardable4, isForwardable6 } from "./special-address.ts";

const ESP = 50;
const FRAGMENT_HEADER = 44;
/** The shortest ESP packet: its text has one word. */
const LEAST_ESP = ESP_HEAD_BYTES + 4 + AEAD_TAG;
/** The first byte of IPv4 without options, and what ESP says it is. */
const WITHOUT_OPTIONS = 0x45;
const NEXT_4 = 4;
const TRAILER_BYTES = 2;

/** InboundStep works on what the public port received; what it answers through the tunnel leaves by the outbound step. */
export class InboundStep {
  readonly #arena: Arena;
  readonly #context: GatewayContext;
  readonly #framing: EspFraming;
  readonly #outbound: OutboundStep;
  readonly #exchange: Exchange;
  readonly #batch: AeadBatch;
  readonly #groups = new PacketGroups<Inbound>();
  readonly #pass: OpenPass;
  /** Frames to send when the batch is through. */
  readonly #leavingAt = new Int32Array(AEAD_BATCH);
  readonly #leavingBytes = new Int32Array(AEAD_BATCH);
  #leaving = 0;
  /** What the association at work has passed on, and whether anything of it was authentic and new. */
  #packets = 0;
  #bytes = 0;
  #isHeard = false;
  /** Whether its hard limit may be reached by this batch: then each packet is asked for. */
  #isNear = false;
  /** What is asked of hosts, filled in each time: a packet makes no objects. */
  readonly #refusal: { family: 4 | 6; error: IcmpError; nowMs: number } = {
    family: 4,
    error: EXPIRED[4],
    nowMs: 0,
  };
  readonly #asked: { family: 4 | 6; isIcmp: boolean; nowMs: number } = { family: 4, isIcmp: true, nowMs: 0 };
  /** The association of the last packet: the next is most likely its, too. */
  #lastSpi = -1;
  #last: Inbound | undefined;
  constructor(
    context: GatewayContext,
    parts: { readonly outbound: OutboundStep; readonly exchange: Exchange },
  ) {
    this.#arena = context.arena;
    this.#context = context;
    this.#framing = context.framing;
    this.#outbound = parts.outbound;
    this.#exchange = parts.exchange;
    this.#batch = new AeadBatch(context.arena, "open");
    this.#pass = new OpenPass(this.#batch);
  }

  /** run takes the frames that the public port has received, and makes them leave. */
  run(count: number): void {
    const { publicPort, privatePort, counters } = this.#context;
    let bytes = 0;
    // Associations come and go between turns.
    this.#lastSpi = -1;
    this.#last = undefined;
    for (let i = 0; i < count; i++) bytes += publicPort.bytes(i);
    for (let i = this.#plain(0, count); i < count; i = this.#plain(i + 1, count))
      this.#frame(publicPort.at(i), publicPort.bytes(i));
    counters.publicInterface.rxpackets += count;
    counters.publicInterface.rxbytes += bytes;
    this.#finish();
    this.#outbound.finish();
    privatePort.flush();
    publicPort.flush();
  }

  /** Adds packets from `first` on, up to one that is to be looked at more closely, and returns which that is; `count` after the last. */
  #plain(first: number, count: number): number {
    const context = this.#context;
    const { publicPort, nowMs } = context;
    const { view } = this.#arena;
    const groups = this.#groups;
    const four = context.publicHost.side.four;
    if (four === undefined) return first;
    let last = this.#last;
    // As a signed word.
    let lastSpi = last === undefined ? 0 : last.spi | 0;
    for (let i = first; i < count; i++) {
      const at = publicPort.at(i);
      const room = publicPort.bytes(i) - ETHERNET.bytes;
      const ip = at + ETHERNET.bytes;
      if (room < IP4.bytes || groups.isFull || !context.isForPublic(at)) return i;
      if (view.getInt32(at + PLAIN4_AT) >>> 8 !== PLAIN4) return i;
      const lead = view.getInt32(ip);
      const pieces = view.getInt32(ip + IP4.id);
      const life = view.getInt32(ip + IP4.ttl);
      const source = view.getInt32(ip + IP4.source);
      const target = view.getInt32(ip + IP4.target);
      const bytes = (lead & 0xffff) - IP4.bytes;
      if (!four.own.isWord(target) || ((life >>> 16) & 0xff) !== ESP || (pieces & MORE_OR_OFFSET) !== 0)
        return i;
      if (bytes < LEAST_ESP || bytes + IP4.bytes > room) return i;
      if (sum5(lead, pieces, life, source, target) !== 0xffff) return i;
      const esp = ip + IP4.bytes;
      const spi = view.getInt32(esp);
      if (last === undefined || spi !== lastSpi) {
        last = this.#find(spi >>> 0);
        lastSpi = spi;
      }
      if (last === undefined || !last.isUsable(nowMs)) return i;
      groups.add(last, esp, bytes);
    }
    return count;
  }

  #frame(at: number, bytes: number): void {
    const { counters, publicHost } = this.#context;
    if (bytes >= ETHERNET.bytes) countReceived(this.#arena, at, counters.publicInterface);
    const type = bytes < ETHERNET.bytes ? 0 : this.#arena.view.getUint16(at + ETHERNET.type);
    if (type === ETHER_TYPE.ip4) this.#four(at, bytes - ETHERNET.bytes);
    else if (type === ETHER_TYPE.ip6) this.#six(at, bytes - ETHERNET.bytes);
    else if (type === ETHER_TYPE_ARP) publicHost.neighbour.arp(at, bytes);
    else counters.publicDispatch.ethertypeErrors++;
  }

  #four(at: number, room: number): void {
    const { counters, publicHost } = this.#context;
    const { view, u8 } = this.#arena;
    const ip = at + ETHERNET.bytes;
    const four = publicHost.side.four;
    if (four === undefined || room < IP4.bytes || (u8[ip] as number) >>> 4 !== 4) {
      counters.publicDispatch.ethertypeErrors++;
      return;
    }
    if (!this.#context.isForPublic(at)) {
      counters.publicInterface.notOurs++;
      return;
    }
    const total = view.getUint16(ip + IP4.total);
    const header = ((u8[ip] as number) & 15) * 4;
    if ((view.getUint16(ip + IP4.fragment) & MORE_OR_OFFSET) !== 0) {
      counters.publicDispatch.fragmentErrors++;
      return;
    }
    const isOurs = four.own.is4(view, ip + IP4.target);
    if (!isOurs || total > room || total < header || !isSoundHeader4(this.#arena, ip, room)) {
      counters.publicDispatch.protocolErrors++;
      return;
    }
    const protocol = u8[ip + IP4.protocol] as number;
    if (protocol === ESP) this.#esp(ip + header, total - header);
    else if (protocol === PROTOCOL.udp) this.#udp(at, header, total, 4);
    else this.#answerOutside(at, total, 4, protocol === ICMP4.protocol);
  }

  #six(at: number, room: number): void {
    const { counters, publicHost } = this.#context;
    const { view, u8 } = this.#arena;
    const ip = at + ETHERNET.bytes;
    const six = publicHost.side.six;
    if (six === undefined || room < IP6.bytes || (u8[ip] as number) >>> 4 !== 6) {
      counters.publicDispatch.ethertypeErrors++;
      return;
    }
    const total = IP6.bytes + view.getUint16(ip + IP6.payload);
    const next = u8[ip + IP6.next] as number;
    const isWhole = total <= room;
    if (isWhole && next === PROTOCOL.icmp6 && publicHost.neighbour.isDiscovery(ip, total)) {
      publicHost.neighbour.discovery(at, total);
      return;
    }
    if (!this.#context.isForPublic(at)) counters.publicInterface.notOurs++;
    else if (next === FRAGMENT_HEADER) counters.publicDispatch.fragmentErrors++;
    else if (!isWhole || !six.own.is6(view, ip + IP6.target)) counters.publicDispatch.protocolErrors++;
    else if (next === ESP) this.#esp(ip + IP6.bytes, total - IP6.bytes);
    else if (next === PROTOCOL.udp) this.#udp(at, IP6.bytes, total, 6);
    else this.#answerOutside(at, total, 6, next === PROTOCOL.icmp6);
  }

  /** Answers a packet to the public address, on the link. */
  #answerOutside(at: number, total: number, family: 4 | 6, isIcmp: boolean): void {
    const asked = this.#asked;
    asked.family = family;
    asked.isIcmp = isIcmp;
    asked.nowMs = this.#context.nowMs;
    this.#context.publicHost.answer(at, total, asked);
  }

  /** Takes UDP to the gateway: ESP in UDP, or a key exchange. */
  #udp(at: number, header: number, total: number, family: 4 | 6): void {
    const exchange = this.#exchange;
    const kind = exchange.read(at + ETHERNET.bytes, header, total);
    if (kind === "esp") this.#esp(exchange.at, exchange.bytes);
    else if (kind === "other") {
      const refusal = this.#refusal;
      refusal.family = family;
      refusal.error = UNKNOWN_PROTOCOL[family];
      refusal.nowMs = this.#context.nowMs;
      this.#context.publicHost.refuse(at, total, refusal);
    }
  }

  /** Takes an ESP packet. */
  #esp(at: number, bytes: number): void {
    const { counters, nowMs } = this.#context;
    const spi = this.#framing.receiver(at, bytes);
    const inbound = spi === this.#lastSpi ? this.#last : this.#find(spi);
    if (inbound === undefined || !inbound.isUsable(nowMs)) {
      counters.publicRouter.routeErrors++;
      return;
    }
    if (this.#groups.isFull) this.#finish();
    this.#groups.add(inbound, at, bytes);
  }

  #find(spi: number): Inbound | undefined {
    this.#lastSpi = spi;
    this.#last = this.#context.book.inbound.get(spi);
    return this.#last;
  }

  /** Opens and sends what was added. */
  #finish(): void {
    const groups = this.#groups;
    for (let i = 0; i < groups.owners; i++) this.#open(groups.owner(i));
    groups.clear();
  }

  /** Opens the packets of one association, and passes on what is authentic and new. */
  #open(inbound: Inbound): void {
    this.#pass.fill(inbound, this.#groups);
    inbound.association.openKey.run(this.#batch);
    this.#packets = 0;
    this.#bytes = 0;
    this.#isHeard = false;
    const { count } = this.#batch;
    this.#isNear = inbound.isNear(count);
    // All at once, if they are what they should be.
    const areNew = this.#pass.isNext && this.#allAuthentic();
    if (areNew && count > 0) {
      acceptNext(inbound.association.window, count);
      this.#isHeard = true;
    }
    for (let i = this.#passPlain(inbound, 0, areNew); i < count; i = this.#passPlain(inbound, i + 1, areNew))
      this.#passOther(inbound, i);
    if (this.#isHeard) this.#context.opened(inbound, this.#packets, this.#bytes);
    this.#leave();
  }

  #allAuthentic(): boolean {
    const { verdicts, count } = this.#batch;
    let authentic = 0;
    for (let i = 0; i < count; i++) authentic += verdicts[i] as number;
    return authentic === count;
  }

  /** Whether a packet is authentic and new; counts what is not. */
  #isNew(inbound: Inbound, index: number): boolean {
    if (this.#batch.verdicts[index] !== 1) {
      inbound.decryptErrors++;
      return false;
    }
    if (!acceptSequence(inbound.association.window, this.#pass.sequences[index] as number)) {
      inbound.decryptErrors++;
      inbound.replayed++;
      return false;
    }
    this.#isHeard = true;
    return true;
  }

  /**
   * Passes on packets from `first` on, up to one that is authentic and new and to be looked at more closely, and returns which that is; the
   * batch's count after the last. With `areNew` it is known that all are.
   */
  #passPlain(inbound: Inbound, first: number, areNew: boolean): number {
    const { book, privateHost, publicHost } = this.#context;
    const { view, u8 } = this.#arena;
    const { textsAt, textBytes, count } = this.#batch;
    const leavingAt = this.#leavingAt;
    const leavingBytes = this.#leavingBytes;
    const before = this.#leaving;
    let leaving = before;
    let bytes = 0;
    const isNear = this.#isNear;
    const route = inbound.route.index;
    const four = privateHost.side.four;
    const outside = publicHost.side.four;
    // Packets of one flow come in a row: what is found for one holds for the next.
    let isKnown = false;
    let lastSource = 0;
    let lastTarget = 0;
    let i = first;
    for (; i < count; i++) {
      if (!areNew && !this.#isNew(inbound, i)) continue;
      if (isNear) break;
      const ip = textsAt[i] as number;
      const end = ip + (textBytes[i] as number) - TRAILER_BYTES;
      const trailer = view.getUint16(end);
      // Its tag lies behind it, so there is something to read, if only to find that it is too short.
      const lead = view.getInt32(ip);
      const life = view.getInt32(ip + IP4.ttl);
      const source = view.getInt32(ip + IP4.source);
      const target = view.getInt32(ip + IP4.target);
      const total = lead & 0xffff;
      if (four === undefined || !four.isResolved || lead >>> 24 !== WITHOUT_OPTIONS) break;
      if ((trailer & 0xff) !== NEXT_4 || total < IP4.bytes || ip + total + (trailer >>> 8) > end) break;
      if (sum5(lead, view.getInt32(ip + IP4.id), life, source, target) !== 0xffff || life >>> 24 <= 1) break;
      if (!isKnown || source !== lastSource || target !== lastTarget) {
        if (!isForwardable4(source) || !isForwardable4(target)) break;
        if (four.own.isWord(target) || four.own.isWord(source) || outside?.own.isWord(source) === true) break;
        if (book.four.find(u8, ip + IP4.source) !== route) break;
        isKnown = true;
        lastSource = source;
        lastTarget = target;
      }
      view.setInt32(ip + IP4.ttl, decremented(life));
      const frame = ip - ETHERNET.bytes;
      four.lay(view, frame);
      leavingAt[leaving] = frame;
      leavingBytes[leaving++] = ETHERNET.bytes + total;
      bytes += total;
    }
    this.#leaving = leaving;
    this.#packets += leaving - before;
    this.#bytes += bytes;
    return i;
  }

  /** Passes on a packet that is authentic and new. */
  #passOther(inbound: Inbound, index: number): void {
    const batch = this.#batch;
    const ip = batch.textAt(index);
    const length = this.#framing.packetBytes(ip, batch.lengthOf(index));
    if (length <= 0) {
      inbound.protocolErrors++;
      return;
    }
    const { counters } = this.#context;
    if (this.#isNear && !inbound.admits(this.#packets + 1, this.#bytes + length)) {
      counters.publicRouter.routeErrors++;
      return;
    }
    const total = this.#packet(ip, length, inbound);
    if (total === 0) counters.inboundDispatch.protocolErrors++;
    else {
      this.#packets++;
      this.#bytes += total;
    }
  }

  /** Passes on one packet; returns its length without padding, 0 for nonsense. */
  #packet(ip: number, length: number, inbound: Inbound): number {
    return (this.#arena.u8[ip] as number) >>> 4 === 4
      ? this.#packet4(ip, length, inbound)
      : this.#packet6(ip, length, inbound);
  }

  #packet4(ip: number, length: number, inbound: Inbound): number {
    const { counters, privateHost, publicHost, book } = this.#context;
    const { view, u8 } = this.#arena;
    const four = privateHost.side.four;
    const total = length < IP4.bytes ? 0 : view.getUint16(ip + IP4.total);
    if (four === undefined || total < IP4.bytes || total > length) return 0;
    const source = view.getInt32(ip + IP4.source);
    const target = view.getInt32(ip + IP4.target);
    const isOwn = four.own.isWord(source) || publicHost.side.four?.own.isWord(source) === true;
    if (!isSoundHeader4(this.#arena, ip, total)) counters.inboundTtl.checksumErrors++;
    else if (book.four.find(u8, ip + IP4.source) !== inbound.route.index) this.#refuseSource(inbound);
    else if (isOwn || !isForwardable4(source)) counters.publicRouter.refusedAddress++;
    else if (four.own.isWord(target)) this.#answer(ip, total, 4, u8[ip + IP4.protocol] === ICMP4.protocol);
    else if (!isForwardable4(target)) counters.publicRouter.refusedAddress++;
    else if ((u8[ip + IP4.ttl] as number) <= 1) this.#refuse(ip, total, 4, EXPIRED[4]);
    else {
      decrementTtl(view, ip);
      this.#send(ip, total, four);
    }
    return total;
  }

  #packet6(ip: number, length: number, inbound: Inbound): number {
    const { counters, privateHost, publicHost, book } = this.#context;
    const { view, u8 } = this.#arena;
    const six = privateHost.side.six;
    const total = length < IP6.bytes ? 0 : IP6.bytes + view.getUint16(ip + IP6.payload);
    if (six === undefined || total === 0 || total > length) return 0;
    const source = ip + IP6.source;
    const target = ip + IP6.target;
    const isOwn = six.own.is6(view, source) || publicHost.side.six?.own.is6(view, source) === true;
    if (book.six.find(u8, source) !== inbound.route.index) this.#refuseSource(inbound);
    else if (isOwn || !isForwardable6(view, source)) counters.publicRouter.refusedAddress++;
    else if (six.own.is6(view, target)) this.#answer(ip, total, 6, u8[ip + IP6.next] === PROTOCOL.icmp6);
    else if (!isForwardable6(view, target)) counters.publicRouter.refusedAddress++;
    else if ((u8[ip + IP6.hops] as number) <= 1) this.#refuse(ip, total, 6, EXPIRED[6]);
    else {
      u8[ip + IP6.hops] = (u8[ip + IP6.hops] as number) - 1;
      this.#send(ip, total, six);
    }
    return total;
  }

  #refuseSource(inbound: Inbound): void {
    inbound.refusedSource++;
    inbound.route.refusedSource++;
    this.#context.counters.publicRouter.refusedSource++;
  }

  /** Answers a packet to the private address, through the tunnel. */
  #answer(ip: number, total: number, family: 4 | 6, isIcmp: boolean): void {
    const { inner, nowMs } = this.#context;
    if (!isIcmp) {
      this.#refuse(ip, total, family, UNKNOWN_PROTOCOL[family]);
      return;
    }
    const speaker = inner.of(family);
    if (speaker?.answer(ip, total, nowMs) === true) this.#outbound.forward(ip, speaker.bytes, family);
  }

  #refuse(ip: number, total: number, family: 4 | 6, error: IcmpError): void {
    const { inner, nowMs } = this.#context;
    const speaker = inner.of(family);
    const at = speaker?.error(ip, total, error, nowMs) ?? 0;
    if (speaker !== undefined && at !== 0) this.#outbound.forward(at, speaker.bytes, family);
  }

  /** Sends a packet to the private side's neighbour when the batch is through. */
  #send(ip: number, total: number, family: SideFamily): void {
    if (!family.isResolved) {
      this.#context.counters.privateInterface.unresolved++;
      return;
    }
    const frame = ip - ETHERNET.bytes;
    family.lay(this.#arena.view, frame);
    this.#leavingAt[this.#leaving] = frame;
    this.#leavingBytes[this.#leaving++] = ETHERNET.bytes + total;
  }

  /** Makes leave what is to. */
  #leave(): void {
    const { privatePort, counters } = this.#context;
    const count = this.#leaving;
    let sent = 0;
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const at = this.#leavingAt[i] as number;
      const length = this.#leavingBytes[i] as number;
      if (!privatePort.send(at, length)) {
        privatePort.flush();
        if (!privatePort.send(at, length)) continue;
      }
      sent++;
      bytes += length;
    }
    this.#leaving = 0;
    const { privateInterface } = counters;
    privateInterface.txpackets += sent;
    privateInterface.txbytes += bytes;
    privateInterface.txdrop += count - sent;
  }
}
