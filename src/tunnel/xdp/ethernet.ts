/**
 * Ethernet frames with IP in them, as they come from a wire that nobody has checked before (RFC 894, RFC 2464, RFC 1812 section 5.2.2).
 *
 * ```
 *  0        6        12          14
 *  | target | source | EtherType | IP …
 * ```
 */
import type { Arena } from "../../sys/mod.ts";
import { IP4, IP6 } from "../path/ip-header.ts";

/** ETHERNET has the places of the header's fields. */
export const ETHERNET = { bytes: 14, target: 0, source: 6, type: 12 } as const;
/** ETHER_TYPE of the two families. */
export const ETHER_TYPE = { ip4: 0x0800, ip6: 0x86dd } as const;

/** Next header of IPv6 (RFC 8200 section 4.5). */
const FRAGMENT_HEADER = 44;

/** headerSum returns the one's complement sum of a header of 20 to 60 bytes, folded: 0xffff if its checksum is right. */
export function headerSum(view: DataView, at: number, bytes: number): number {
  let sum = 0;
  for (let i = 0; i < bytes; i += 2) sum += view.getUint16(at + i);
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/** EthernetReader reads one frame after the other; it has the results as fields, so it makes no objects. */
export class EthernetReader {
  readonly #arena: Arena;
  readonly #macHigh: number;
  readonly #macLow: number;
  /** Length of the IP packet, without padding; of its header; and the protocol in it. */
  packetBytes = 0;
  headerBytes = 0;
  protocol = 0;
  /** Whether it is a piece of a packet; of IPv6 only if the fragment header comes first. */
  isFragment = false;

  /** `mac` is our own address, six bytes: frames for others are not ours. */
  constructor(arena: Arena, mac: Uint8Array) {
    this.#arena = arena;
    const view = new DataView(mac.buffer, mac.byteOffset, mac.length);
    this.#macHigh = view.getInt32(0);
    this.#macLow = view.getUint16(4);
  }

  /** isOurs tells whether a frame of at least a header is for our address. */
  isOurs(at: number): boolean {
    const { view } = this.#arena;
    return view.getInt32(at) === this.#macHigh && view.getUint16(at + 4) === this.#macLow;
  }

  /** read returns whether a frame has a whole and sound IP packet, which then lies at `at` + 14. */
  read(at: number, bytes: number): boolean {
    if (bytes < ETHERNET.bytes + IP4.bytes) return false;
    const { view, u8 } = this.#arena;
    const ip = at + ETHERNET.bytes;
    const room = bytes - ETHERNET.bytes;
    const type = view.getUint16(at + ETHERNET.type);
    if (type === ETHER_TYPE.ip4) {
      const first = u8[ip] as number;
      const header = (first & 15) * 4;
      const total = view.getUint16(ip + IP4.total);
      if (first >>> 4 !== 4 || header < IP4.bytes || total < header || total > room) return false;
      if (headerSum(view, ip, header) !== 0xffff) return false;
      this.packetBytes = total;
      this.headerBytes = header;
      this.protocol = u8[ip + IP4.protocol] as number;
      this.isFragment = (view.getUint16(ip + IP4.fragment) & 0x3fff) !== 0;
      return true;
    }
    if (type !== ETHER_TYPE.ip6 || room < IP6.bytes || (u8[ip] as number) >>> 4 !== 6) return false;
    const total = IP6.bytes + view.getUint16(ip + IP6.payload);
    if (total > room) return false;
    this.packetBytes = total;
    this.headerBytes = IP6.bytes;
    this.protocol = u8[ip + IP6.next] as number;
    this.isFragment = this.protocol === FRAGMENT_HEADER;
    return true;
  }
}
