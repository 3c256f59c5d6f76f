/**
 * The neighbour of one side: its link address is asked for by ARP (RFC 826) and Neighbor Discovery (RFC 4861), and questions for our own
 * addresses are answered.
 *
 * Only what the configured next hop says of itself is believed. It is asked each second until it answers, and then every five seconds; one that
 * does not answer any more keeps its address, as in Vita: what changed will be told.
 */
import type { Arena } from "../../sys/mod.ts";
import type { Checksum } from "../path/checksum.ts";
import { IP6, PROTOCOL } from "../path/ip-header.ts";
import { ETHER_TYPE, ETHERNET } from "../xdp/ethernet.ts";
import type { NextHopCounters } from "./counters.ts";
import { isSound6, sign6 } from "./icmp-checksum.ts";
import type { OwnFrames } from "./own-frames.ts";
import type { Side, SideFamily } from "./side.ts";

/** ETHER_TYPE_ARP is what ARP frames have. */
export const ETHER_TYPE_ARP = 0x0806;

const ASK_MS = 1000;
const ASK_AGAIN_MS = 5000;

/** Places in an ARP frame, from the Ethernet header on. */
const ARP = {
  kinds: 14,
  lengths: 18,
  operation: 20,
  sender: 22,
  senderIp: 28,
  targetMac: 32,
  target: 38,
  bytes: 42,
} as const;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
/** Ethernet and IPv4, 6 and 4 bytes. */
const ARP_KINDS = 0x0001_0800;
const ARP_LENGTHS = 0x0604;

/** Places in a solicitation or an advertisement, from the IPv6 header on. */
const ND = { type: 40, code: 41, flags: 44, target: 48, options: 64, bytes: 72 } as const;
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const OPTION = { source: 1, target: 2 } as const;
/** Router, solicited, override. */
const FLAG = { router: 0x80, solicited: 0x40, override: 0x20 } as const;
const ND_HOPS = 255;
const BROADCAST = new Uint8Array(6).fill(0xff);
const ALL_NODES = new Uint8Array([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/** NeighbourParts are what one works with. */
export interface NeighbourParts {
  readonly side: Side;
  readonly frames: OwnFrames;
  readonly sum: Checksum;
  readonly counters: NextHopCounters;
  /** Whether it asks again; of several queues on one interface only one does, and tells the others. Who knows nothing asks. Default true. */
  readonly asks?: boolean;
  /** Called when the neighbour says a new link address, and at most each second when it says the one that is known. */
  readonly learnt: (family: 4 | 6, isNew: boolean) => void;
}

/** Neighbour is both families of one side. */
export class Neighbour {
  readonly #arena: Arena;
  readonly #parts: NeighbourParts;
  readonly #nextMs = { 4: 0, 6: 0 };
  /** Whether it was told of since the last second began. */
  readonly #isTold = { 4: false, 6: false };
  #toldMs = 0;

  constructor(parts: NeighbourParts) {
    this.#arena = parts.frames.port.frames.arena;
    this.#parts = parts;
  }

  /** isDiscovery tells whether an ICMPv6 message is Neighbor Discovery of a kind that is read here. */
  isDiscovery(ip: number, total: number): boolean {
    const { u8 } = this.#arena;
    if (u8[ip + IP6.next] !== PROTOCOL.icmp6 || total < IP6.bytes + 8) return false;
    const type = u8[ip + ND.type] as number;
    return type >= 133 && type <= 137;
  }

  /** arp takes an ARP frame; where it asks for us it is answered. */
  arp(at: number, bytes: number): void {
    const { view, u8 } = this.#arena;
    const { side, frames, counters } = this.#parts;
    const four = side.four;
    const operation = bytes < ARP.bytes ? 0 : view.getUint16(at + ARP.operation);
    if (
      (operation !== ARP_REQUEST && operation !== ARP_REPLY) ||
      view.getInt32(at + ARP.kinds) !== ARP_KINDS ||
      view.getUint16(at + ARP.lengths) !== ARP_LENGTHS
    ) {
      counters.arpErrors++;
      return;
    }
    if (four === undefined) return;
    if (four.nextHop.is4(view, at + ARP.senderIp)) this.#learn(four, at + ARP.sender, 4);
    if (operation !== ARP_REQUEST || !four.own.is4(view, at + ARP.target)) return;
    view.setUint16(at + ARP.operation, ARP_REPLY);
    u8.copyWithin(at + ARP.targetMac, at + ARP.sender, at + ARP.targetMac);
    u8.set(side.mac, at + ARP.sender);
    u8.set(four.own.bytes, at + ARP.senderIp);
    u8.copyWithin(at, at + ARP.targetMac, at + ARP.targetMac + 6);
    u8.set(side.mac, at + ETHERNET.source);
    if (frames.send(at, ARP.bytes)) counters.arpReplies++;
  }

  /** discovery takes Neighbor Discovery in the frame at `at`; where it asks for us it is answered. */
  discovery(at: number, total: number): void {
    const { view, u8 } = this.#arena;
    const { side, sum, counters } = this.#parts;
    const ip = at + ETHERNET.bytes;
    const six = side.six;
    const type = u8[ip + ND.type] as number;
    const isSound =
      (type === SOLICITATION || type === ADVERTISEMENT) &&
      total >= ND.options &&
      u8[ip + IP6.hops] === ND_HOPS &&
      u8[ip + ND.code] === 0 &&
      u8[ip + ND.target] !== 0xff &&
      isSound6(sum, ip, total - IP6.bytes);
    if (!isSound) {
      counters.ndErrors++;
      return;
    }
    if (six === undefined) return;
    const isSolicitation = type === SOLICITATION;
    const said = isSolicitation ? ip + IP6.source : ip + ND.target;
    if (six.nextHop.is6(view, said)) {
      const mac = this.#option(ip, total, isSolicitation ? OPTION.source : OPTION.target);
      if (mac !== 0) this.#learn(six, mac, 6);
    }
    if (isSolicitation && six.own.is6(view, ip + ND.target)) this.#advertise(at, six);
  }

  /** The link address in an option; 0 if there is none. */
  #option(ip: number, total: number, kind: number): number {
    const { u8 } = this.#arena;
    for (let at = ND.options; at + 8 <= total;) {
      const bytes = (u8[ip + at + 1] as number) * 8;
      if (bytes === 0 || at + bytes > total) return 0;
      if (u8[ip + at] === kind) return ip + at + 2;
      at += bytes;
    }
    return 0;
  }

  /** Makes the solicitation at `at` an advertisement, and sends it. */
  #advertise(at: number, six: SideFamily): void {
    const { view, u8 } = this.#arena;
    const { side, frames, counters, sum } = this.#parts;
    const ip = at + ETHERNET.bytes;
    // Who asks whether an address is free has none yet (section 7.2.4).
    const isNameless = view.getInt32(ip + IP6.source) === 0 && view.getInt32(ip + IP6.source + 12) === 0;
    if (isNameless) {
      u8.set(ALL_NODES, ip + IP6.target);
      view.setUint16(at, 0x3333);
      view.setUint32(at + 2, 1);
    } else {
      u8.copyWithin(ip + IP6.target, ip + IP6.source, ip + IP6.target);
      u8.copyWithin(at, at + ETHERNET.source, at + ETHERNET.type);
    }
    u8.set(side.mac, at + ETHERNET.source);
    this.#message(ip, six, ADVERTISEMENT, OPTION.target);
    u8[ip + ND.flags] = FLAG.router | FLAG.override | (isNameless ? 0 : FLAG.solicited);
    sign6(this.#arena, sum, ip, ND.bytes - IP6.bytes);
    if (frames.send(at, ETHERNET.bytes + ND.bytes)) counters.naReplies++;
  }

  /** Writes a message with one option, but for its target addresses and checksum. */
  #message(ip: number, six: SideFamily, type: number, option: number): void {
    const { view, u8 } = this.#arena;
    view.setInt32(ip, 0x6000_0000);
    view.setUint16(ip + IP6.payload, ND.bytes - IP6.bytes);
    u8[ip + IP6.next] = PROTOCOL.icmp6;
    u8[ip + IP6.hops] = ND_HOPS;
    u8.set(six.own.bytes, ip + IP6.source);
    u8[ip + ND.type] = type;
    u8[ip + ND.code] = 0;
    view.setInt32(ip + ND.flags, 0);
    u8[ip + ND.options] = option;
    u8[ip + ND.options + 1] = 1;
    u8.set(this.#parts.side.mac, ip + ND.options + 2);
  }

  #learn(family: SideFamily, at: number, which: 4 | 6): void {
    const { u8 } = this.#arena;
    const { counters, learnt } = this.#parts;
    if (family.isFixed) return;
    // Not a group's address, and not none.
    if (((u8[at] as number) & 1) === 1) return;
    let isNew = !family.isResolved;
    let isNothing = true;
    for (let i = 0; i < 6; i++) {
      if (u8[at + i] !== family.nextHopMac[i]) isNew = true;
      if (u8[at + i] !== 0) isNothing = false;
    }
    if (isNothing) return;
    if (!isNew) {
      if (!this.#isTold[which]) learnt(which, false);
      this.#isTold[which] = true;
      return;
    }
    this.#isTold[which] = true;
    if (family.isResolved) counters.addressesUpdated++;
    else counters.addressesAdded++;
    family.resolve(u8.subarray(at, at + 6));
    learnt(which, true);
  }

  /** tick asks, when it is time. */
  tick(nowMs: number): void {
    const { side, asks = true } = this.#parts;
    if (nowMs >= this.#toldMs) {
      this.#toldMs = nowMs + ASK_MS;
      this.#isTold[4] = this.#isTold[6] = false;
    }
    for (const family of [4, 6] as const) {
      const addresses = side.family(family);
      if (addresses === undefined || addresses.isFixed || nowMs < this.#nextMs[family]) continue;
      if (!asks && addresses.isResolved) continue;
      this.#nextMs[family] = nowMs + (addresses.isResolved ? ASK_AGAIN_MS : ASK_MS);
      if (family === 4) this.#askArp(addresses);
      else this.#solicit(addresses);
    }
  }

  #askArp(four: SideFamily): void {
    const { view, u8 } = this.#arena;
    const { side, frames, counters } = this.#parts;
    const at = frames.port.frames.take();
    if (at === 0) return;
    u8.set(BROADCAST, at);
    u8.set(side.mac, at + ETHERNET.source);
    view.setUint16(at + ETHERNET.type, ETHER_TYPE_ARP);
    view.setInt32(at + ARP.kinds, ARP_KINDS);
    view.setUint16(at + ARP.lengths, ARP_LENGTHS);
    view.setUint16(at + ARP.operation, ARP_REQUEST);
    u8.set(side.mac, at + ARP.sender);
    u8.set(four.own.bytes, at + ARP.senderIp);
    u8.fill(0, at + ARP.targetMac, at + ARP.target);
    u8.set(four.nextHop.bytes, at + ARP.target);
    this.#ask(at, ARP.bytes, () => counters.arpRequests++);
  }

  #solicit(six: SideFamily): void {
    const { view, u8 } = this.#arena;
    const { side, frames, counters, sum } = this.#parts;
    const at = frames.port.frames.take();
    if (at === 0) return;
    const ip = at + ETHERNET.bytes;
    const last = six.nextHop.bytes.subarray(13);
    // The solicited-node address ff02::1:ffXX:XXXX (RFC 4291 section 2.7.1), and its group on Ethernet (RFC 2464 section 7).
    view.setInt32(at, 0x3333_ff00);
    u8.set(last, at + 3);
    u8.set(side.mac, at + ETHERNET.source);
    view.setUint16(at + ETHERNET.type, ETHER_TYPE.ip6);
    this.#message(ip, six, SOLICITATION, OPTION.source);
    u8.set(ALL_NODES, ip + IP6.target);
    u8[ip + IP6.target + 11] = 1;
    u8[ip + IP6.target + 12] = 0xff;
    u8.set(last, ip + IP6.target + 13);
    u8.set(six.nextHop.bytes, ip + ND.target);
    sign6(this.#arena, sum, ip, ND.bytes - IP6.bytes);
    this.#ask(at, ETHERNET.bytes + ND.bytes, () => counters.nsRequests++);
  }

  #ask(at: number, bytes: number, count: () => void): void {
    const { frames } = this.#parts;
    if (frames.send(at, bytes)) count();
    else frames.port.frames.give(at);
    frames.port.flush();
  }
}
