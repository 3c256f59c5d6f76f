/**
 * The two messages by which unnumbered peers find each other, as bytes (RFC 4861 sections 4.1 and 4.2). What we send makes nobody a default route:
 * its router lifetime is zero.
 *
 * ```
 *  solicitation    133 | 0 | checksum 2 | reserved 4 | options
 *  advertisement   134 | 0 | checksum 2 | hop limit 1 | flags 1 | router lifetime 2 | reachable time 4 | retransmission timer 4 | options
 * ```
 */
import { type Ip, ipFromBytes } from "../../net/mod.ts";

/** ROUTER_SOLICITATION and ROUTER_ADVERTISEMENT are ICMPv6 types. */
export const ROUTER_SOLICITATION = 133;
export const ROUTER_ADVERTISEMENT = 134;

const IPV6_BYTES = 40;
const ICMPV6 = 58;
const HOP_LIMIT = 255;

/** RouterMessage is what came from a router, or from somebody who looks for one. */
export interface RouterMessage {
  readonly kind: "advertisement" | "solicitation";
  /** A link-local address for an advertisement. */
  readonly source: Ip;
}

/** encodeAdvertisement returns ours: we say that we are there, and nothing of how to configure hosts. */
export function encodeAdvertisement(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(16));
  bytes[0] = ROUTER_ADVERTISEMENT;
  return bytes;
}

/** encodeSolicitation asks routers to advertise themselves at once. */
export function encodeSolicitation(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(8));
  bytes[0] = ROUTER_SOLICITATION;
  return bytes;
}

/** decodeRouterMessage reads a packet from its IPv6 header on; undefined for one that RFC 4861 sections 6.1.1 and 6.1.2 want dropped. */
export function decodeRouterMessage(packet: Uint8Array): RouterMessage | undefined {
  if (packet.length < IPV6_BYTES + 8 || (packet[0] as number) >>> 4 !== 6 || packet[6] !== ICMPV6)
    return undefined;
  // "The IP Hop Limit field has a value of 255, i.e., the packet could not possibly have been forwarded by a router."
  if (packet[7] !== HOP_LIMIT) return undefined;
  const length = ((packet[4] as number) << 8) | (packet[5] as number);
  // Short Ethernet frames are padded.
  if (IPV6_BYTES + length > packet.length) return undefined;
  const body = packet.subarray(IPV6_BYTES, IPV6_BYTES + length);
  if (body[1] !== 0 || checksum(packet, body) !== 0) return undefined;
  const source = ipFromBytes(packet.subarray(8, 24));
  if (body[0] === ROUTER_SOLICITATION)
    return optionsFit(body, 8) ? { kind: "solicitation", source } : undefined;
  if (body[0] !== ROUTER_ADVERTISEMENT || body.length < 16) return undefined;
  // "IP Source Address is a link-local address. Routers must use their link-local address."
  if (packet[8] !== 0xfe || ((packet[9] as number) & 0xc0) !== 0x80) return undefined;
  return optionsFit(body, 16) ? { kind: "advertisement", source } : undefined;
}

/** "All included options have a length that is greater than zero." */
function optionsFit(body: Uint8Array, from: number): boolean {
  let at = from;
  while (at + 2 <= body.length && body[at + 1] !== 0) at += (body[at + 1] as number) * 8;
  return at === body.length;
}

/** The sum over pseudo-header and message, zero when right (RFC 4443 section 2.3, RFC 8200 section 8.1). */
function checksum(packet: Uint8Array, body: Uint8Array): number {
  let sum = body.length + ICMPV6;
  for (let at = 8; at < IPV6_BYTES; at += 2)
    sum += ((packet[at] as number) << 8) | (packet[at + 1] as number);
  for (let at = 0; at < body.length; at += 2) sum += ((body[at] as number) << 8) | (body[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
