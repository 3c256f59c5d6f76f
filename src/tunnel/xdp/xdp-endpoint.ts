/**
 * Where a peer is, for frames that this process makes whole: a finished header in the arena, copied before each sealed frame.
 *
 * ```
 *  0          4        8
 *  | length   | sum    | Ethernet 14 | IPv4 20 or IPv6 40 | UDP 8 or nothing (ESP) |
 * ```
 * What differs from frame to frame are lengths, and IPv4's checksum, whose sum over the rest is kept beside.
 */
import type { Arena } from "../../sys/mod.ts";
import { type Ip, ipBytes } from "../../net/mod.ts";
import { DONT_FRAGMENT, IP4, IP6, UDP } from "../path/ip-header.ts";
import { ETHER_TYPE, ETHERNET, headerSum } from "./ethernet.ts";

/** XDP_ENDPOINT has the places, and the length of this memory. */
export const XDP_ENDPOINT = { headerBytes: 0, sum: 4, header: 8, bytes: 72 } as const;

const ESP = 50;
const UDP_PROTOCOL = 17;
const HOP_LIMIT = 64;

/** XdpEndpoint says what the header is made of. */
export interface XdpEndpoint {
  /** Link addresses, six bytes each: of the next hop, and ours. */
  readonly nextHop: Uint8Array;
  readonly mac: Uint8Array;
  /** Addresses of one family. */
  readonly from: Ip;
  readonly to: Ip;
  /** Absent: raw ESP. Over IPv4 the checksum is left out (RFC 768); over IPv6 who sends writes it (udp6-sum.ts). */
  readonly udp?: { readonly from: number; readonly to: number };
}

/** setXdpEndpoint writes an endpoint to XDP_ENDPOINT.bytes of memory. */
export function setXdpEndpoint(arena: Arena, at: number, endpoint: XdpEndpoint): void {
  const { nextHop, mac, from, to, udp } = endpoint;
  if (from.family !== to.family) throw new RangeError("An endpoint has addresses of two families");
  arena.wipe(at, XDP_ENDPOINT.bytes);
  const { u8, view } = arena;
  const frame = at + XDP_ENDPOINT.header;
  const ip = frame + ETHERNET.bytes;
  arena.store(frame, nextHop.subarray(0, 6));
  arena.store(frame + ETHERNET.source, mac.subarray(0, 6));
  const protocol = udp === undefined ? ESP : UDP_PROTOCOL;
  let headers: number;
  if (to.family === 4) {
    view.setUint16(frame + ETHERNET.type, ETHER_TYPE.ip4);
    u8[ip] = 0x45;
    // Never fragmented, so its number says nothing (RFC 6864 section 4.1).
    view.setUint16(ip + IP4.fragment, DONT_FRAGMENT);
    u8[ip + IP4.ttl] = HOP_LIMIT;
    u8[ip + IP4.protocol] = protocol;
    arena.store(ip + IP4.source, ipBytes(from));
    arena.store(ip + IP4.target, ipBytes(to));
    view.setInt32(at + XDP_ENDPOINT.sum, headerSum(view, ip, IP4.bytes), true);
    headers = IP4.bytes;
  } else {
    view.setUint16(frame + ETHERNET.type, ETHER_TYPE.ip6);
    u8[ip] = 0x60;
    u8[ip + IP6.next] = protocol;
    u8[ip + IP6.hops] = HOP_LIMIT;
    arena.store(ip + IP6.source, ipBytes(from));
    arena.store(ip + IP6.target, ipBytes(to));
    headers = IP6.bytes;
  }
  if (udp !== undefined) {
    view.setUint16(ip + headers, udp.from);
    view.setUint16(ip + headers + 2, udp.to);
    headers += UDP.bytes;
  }
  view.setInt32(at + XDP_ENDPOINT.headerBytes, ETHERNET.bytes + headers, true);
}

/** layXdpHeader copies the header of the endpoint to `frame`, for so many bytes behind it. */
export function layXdpHeader(arena: Arena, endpoint: number, frame: number, bytes: number): void {
  const { u8, view } = arena;
  const headers = view.getInt32(endpoint + XDP_ENDPOINT.headerBytes, true);
  const from = endpoint + XDP_ENDPOINT.header;
  // For so few bytes a call of the runtime costs more, and through arrays words cost half of what they do through a view. All headers end in
  // half a word; behind an Ethernet header that begins at a word, what was sealed lets them begin at one too.
  const words = headers - 2;
  if (((frame | from) & 3) === 0) {
    const { i32 } = arena;
    for (let i = 0; i < words; i += 4) i32[(frame + i) >> 2] = i32[(from + i) >> 2] as number;
  } else for (let i = 0; i < words; i += 4) view.setInt32(frame + i, view.getInt32(from + i, true), true);
  view.setInt16(frame + words, view.getInt16(from + words, true), true);
  const ip = frame + ETHERNET.bytes;
  const rest = headers - ETHERNET.bytes + bytes;
  if ((u8[ip] as number) >>> 4 === 6) {
    view.setUint16(ip + IP6.payload, rest - IP6.bytes);
    if ((u8[ip + IP6.next] as number) === UDP_PROTOCOL)
      view.setUint16(ip + IP6.bytes + UDP.length, UDP.bytes + bytes);
    return;
  }
  view.setUint16(ip + IP4.total, rest);
  const sum = view.getInt32(endpoint + XDP_ENDPOINT.sum, true) + rest;
  view.setUint16(ip + IP4.checksum, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
  if ((u8[ip + IP4.protocol] as number) === UDP_PROTOCOL)
    view.setUint16(ip + IP4.bytes + UDP.length, UDP.bytes + bytes);
}
