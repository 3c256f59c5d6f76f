/**
 * From the public side to the private one: look at the packet, find its association, open, check who may send it, send. All in the frame that it
 * came in.
 *
 * ```
 * receive ─▶ fragment? for us? ─▶ ESP: SPI ─▶ PacketGroups ─▶ AeadBatch ─▶ replay window ─▶ route's prefixes ─▶ TTL ─▶ send
 *    └▶ ARP, ND, ICMP: Host    └▶ key exchange                                                    └▶ for us, errors: through the tunnel
 * ```
 * Order of checks: section 4.3 of Vita's inventory. What Vita lacks: a packet must be from an address of its association's route (RFC 4301
 * section 5.2), and ESP must be for our own address. Only what is authentic changes anything. A packet allocates nothing.
 */
import { AEAD_BATCH, AeadBatch, type Arena } from "../../sys/mod.ts";
import type { EspFraming, InboundAssociation } from "../esp/mod.ts";
import { IP4, IP6, MORE_OR_OFFSET, PROTOCOL } from "../path/ip-header.ts";
import { ETHER_TYPE, ETHERNET } from "../xdp/ethernet.ts";
import type { Exchange } from "./exchange.ts";
import type { Inbound } from "./gateway-association.ts";
import type { GatewayContext } from "./gateway-context.ts";
import { EXPIRED, UNKNOWN_PROTOCOL } from "./host.ts";
import { ICMP4, type IcmpError } from "./icmp4.ts";
import { decrementTtl, isSoundHeader4 } from "./ip-forward.ts";
import { ETHER_TYPE_ARP } from "./neighbour.ts";
import type { OutboundStep } from "./outbound-step.ts";
import { PacketGroups } from "./packet-groups.ts";
import type { SideFamily } from "./side.ts";

const ESP = 50;
const FRAGMENT_HEADER = 44;

/** InboundStep works on what the public port received; what it answers through the tunnel leaves by the outbound step. */
export class InboundStep {
  readonly #arena: Arena;
  readonly #context: GatewayContext;
  readonly #framing: EspFraming;
  readonly #outbound: OutboundStep;
  readonly #exchange: Exchange;
  readonly #batch: AeadBatch;
  readonly #groups = new PacketGroups<Inbound>();
  readonly #sequences = new Float64Array(AEAD_BATCH);
  /** The association of the last packet: the next is most likely its, too. */
  #lastSpi = -1;
  #last: Inbound | undefined;
  /** What this turn has sent. */
  #sent = 0;
  #sentBytes = 0;

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
  }

  /** run takes the frames that the public port has received, and makes them leave. */
  run(count: number): void {
    const { publicPort, privatePort, counters } = this.#context;
    let bytes = 0;
    // Associations come and go between turns.
    this.#lastSpi = -1;
    this.#last = undefined;
    for (let i = 0; i < count; i++) {
      bytes += publicPort.bytes(i);
      this.#frame(publicPort.at(i), publicPort.bytes(i));
    }
    counters.publicInterface.rxpackets += count;
    counters.publicInterface.rxbytes += bytes;
    this.#finish();
    this.#outbound.finish();
    privatePort.flush();
    publicPort.flush();
  }

  #frame(at: number, bytes: number): void {
    const { counters, publicHost } = this.#context;
    const type = bytes < ETHERNET.bytes ? 0 : this.#arena.view.getUint16(at + ETHERNET.type);
    if (type === ETHER_TYPE.ip4) this.#four(at, bytes - ETHERNET.bytes);
    else if (type === ETHER_TYPE.ip6) this.#six(at, bytes - ETHERNET.bytes);
    else if (type === ETHER_TYPE_ARP) publicHost.neighbour.arp(at, bytes);
    else counters.publicDispatch.ethertypeErrors++;
  }

  #four(at: number, room: number): void {
    const { counters, publicHost, nowMs } = this.#context;
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
    else if (protocol === PROTOCOL.udp) this.#udp(at, { header, total, family: 4 });
    else publicHost.answer(at, total, { family: 4, isIcmp: protocol === ICMP4.protocol, nowMs });
  }

  #six(at: number, room: number): void {
    const { counters, publicHost, nowMs } = this.#context;
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
    else if (next === PROTOCOL.udp) this.#udp(at, { header: IP6.bytes, total, family: 6 });
    else publicHost.answer(at, total, { family: 6, isIcmp: next === PROTOCOL.icmp6, nowMs });
  }

  /** Takes UDP to the gateway: ESP in UDP, or a key exchange. */
  #udp(
    at: number,
    packet: { readonly header: number; readonly total: number; readonly family: 4 | 6 },
  ): void {
    const { publicHost, nowMs } = this.#context;
    const exchange = this.#exchange;
    const kind = exchange.read(at + ETHERNET.bytes, packet.header, packet.total);
    if (kind === "esp") this.#esp(exchange.at, exchange.bytes);
    else if (kind === "other") {
      const { family } = packet;
      publicHost.refuse(at, packet.total, { family, error: UNKNOWN_PROTOCOL[family], nowMs });
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
    const { privateInterface } = this.#context.counters;
    privateInterface.txpackets += this.#sent;
    privateInterface.txbytes += this.#sentBytes;
    this.#sent = 0;
    this.#sentBytes = 0;
  }

  /** Opens the packets of one association. */
  #open(inbound: Inbound): void {
    const groups = this.#groups;
    const framing = this.#framing;
    const batch = this.#batch;
    const { association } = inbound;
    batch.clear();
    for (let packet = inbound.group.first; packet >= 0; packet = groups.next(packet)) {
      const at = groups.at(packet);
      const sequence = framing.counter(at, association);
      if (sequence < 0) {
        inbound.decryptErrors++;
        continue;
      }
      this.#sequences[batch.count] = sequence;
      framing.open(batch, at, groups.bytes(packet), association, sequence);
    }
    association.openKey.run(batch);
    this.#pass(inbound, association);
  }

  /** Passes on what is authentic and new. */
  #pass(inbound: Inbound, association: InboundAssociation): void {
    const framing = this.#framing;
    const batch = this.#batch;
    const { counters } = this.#context;
    const isNear = inbound.isNear(batch.count);
    let isHeard = false;
    let packets = 0;
    let bytes = 0;
    for (let i = 0; i < batch.count; i++) {
      if (batch.verdicts[i] !== 1) inbound.decryptErrors++;
      else if (!framing.accept(association, this.#sequences[i] as number)) {
        inbound.decryptErrors++;
        inbound.replayed++;
      } else {
        isHeard = true;
        const ip = batch.textAt(i);
        const length = framing.packetBytes(ip, batch.lengthOf(i));
        if (length <= 0) {
          inbound.protocolErrors++;
          continue;
        }
        if (isNear && !inbound.admits(packets + 1, bytes + length)) {
          counters.publicRouter.routeErrors++;
          continue;
        }
        const total = this.#packet(ip, length, inbound);
        if (total === 0) counters.inboundDispatch.protocolErrors++;
        else {
          packets++;
          bytes += total;
        }
      }
    }
    if (isHeard) this.#context.opened(inbound, packets, bytes);
  }

  /** Passes on one packet; returns its length without padding, 0 for nonsense. */
  #packet(ip: number, length: number, inbound: Inbound): number {
    return (this.#arena.u8[ip] as number) >>> 4 === 4
      ? this.#packet4(ip, length, inbound)
      : this.#packet6(ip, length, inbound);
  }

  #packet4(ip: number, length: number, inbound: Inbound): number {
    const { counters, privateHost, book } = this.#context;
    const { view, u8 } = this.#arena;
    const four = privateHost.side.four;
    const total = length < IP4.bytes ? 0 : view.getUint16(ip + IP4.total);
    if (four === undefined || total < IP4.bytes || total > length) return 0;
    if (!isSoundHeader4(this.#arena, ip, total)) counters.inboundTtl.checksumErrors++;
    else if (book.four.find(u8, ip + IP4.source) !== inbound.route.index) this.#refuseSource(inbound);
    else if (four.own.is4(view, ip + IP4.target))
      this.#answer(ip, total, { family: 4, isIcmp: u8[ip + IP4.protocol] === ICMP4.protocol });
    else if ((u8[ip + IP4.ttl] as number) <= 1) this.#refuse(ip, total, 4, EXPIRED[4]);
    else {
      decrementTtl(view, ip);
      this.#send(ip, total, four);
    }
    return total;
  }

  #packet6(ip: number, length: number, inbound: Inbound): number {
    const { privateHost, book } = this.#context;
    const { view, u8 } = this.#arena;
    const six = privateHost.side.six;
    const total = length < IP6.bytes ? 0 : IP6.bytes + view.getUint16(ip + IP6.payload);
    if (six === undefined || total === 0 || total > length) return 0;
    if (book.six.find(u8, ip + IP6.source) !== inbound.route.index) this.#refuseSource(inbound);
    else if (six.own.is6(view, ip + IP6.target))
      this.#answer(ip, total, { family: 6, isIcmp: u8[ip + IP6.next] === PROTOCOL.icmp6 });
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
  #answer(ip: number, total: number, what: { readonly family: 4 | 6; readonly isIcmp: boolean }): void {
    const { inner, nowMs } = this.#context;
    const { family, isIcmp } = what;
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

  /** Sends a packet to the private side's neighbour. */
  #send(ip: number, total: number, family: SideFamily): void {
    const { privatePort, counters } = this.#context;
    const { privateInterface } = counters;
    if (!family.isResolved) {
      privateInterface.unresolved++;
      return;
    }
    const frame = ip - ETHERNET.bytes;
    family.lay(this.#arena.view, frame);
    if (!privatePort.send(frame, ETHERNET.bytes + total)) {
      privatePort.flush();
      if (!privatePort.send(frame, ETHERNET.bytes + total)) {
        privateInterface.txdrop++;
        return;
      }
    }
    this.#sent++;
    this.#sentBytes += ETHERNET.bytes + total;
  }
}
