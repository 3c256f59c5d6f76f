/**
 * The checksum of UDP over IPv6, which may not be left out (RFC 8200 section 8.1). RFC 6935 would let both ends of a tunnel agree to, and nobody
 * here can know whether the other end did.
 */
import { type Checksum, fold32, swap16 } from "../path/checksum.ts";
import { IP6, PROTOCOL, UDP } from "../path/ip-header.ts";
import { ETHERNET } from "./ethernet.ts";

/** UDP6_HEADERS is the length of the headers before what is in UDP over IPv6, Ethernet's included; no other headers are as long. */
export const UDP6_HEADERS: number = ETHERNET.bytes + IP6.bytes + UDP.bytes;

/** signUdp6 writes the checksum of a whole frame of UDP over IPv6, whose lengths are right. */
export function signUdp6(view: DataView, sum: Checksum, frame: number): void {
  const ip = frame + ETHERNET.bytes;
  const udp = ip + IP6.bytes;
  const length = view.getUint16(udp + UDP.length);
  view.setUint16(udp + UDP.checksum, 0);
  const addresses = sum.sum(ip + IP6.source, 32);
  const all = fold32(sum.sum(udp, length) + addresses + swap16(length) + swap16(PROTOCOL.udp));
  // Zero would mean that there is none (RFC 768).
  view.setUint16(udp + UDP.checksum, all === 0xffff ? 0xffff : ~all & 0xffff, true);
}
