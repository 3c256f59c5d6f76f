/** Checksums of ICMP messages, ICMPv6's with its pseudo-header (RFC 4443 section 2.3, RFC 8200 section 8.1). */
import type { Arena } from "../../sys/mod.ts";
import { type Checksum, fold32, swap16 } from "../path/checksum.ts";
import { IP4, IP6, PROTOCOL } from "../path/ip-header.ts";
import { headerSum } from "../xdp/ethernet.ts";

const CHECKSUM = 2;

/** isSound4 tells whether the ICMP message at a place has the right checksum. */
export function isSound4(sum: Checksum, at: number, bytes: number): boolean {
  return sum.sum(at, bytes) === 0xffff;
}

/** isSound6 tells the same for the ICMPv6 message right behind the IPv6 header at `ip`. */
export function isSound6(sum: Checksum, ip: number, bytes: number): boolean {
  return fold32(sum.sum(ip + IP6.bytes, bytes) + pseudo6(sum, ip, bytes)) === 0xffff;
}

function pseudo6(sum: Checksum, ip: number, bytes: number): number {
  return sum.sum(ip + IP6.source, 32) + swap16(bytes) + swap16(PROTOCOL.icmp6);
}

/** sign4 writes the checksum of an ICMP message. */
export function sign4({ view }: Arena, sum: Checksum, at: number, bytes: number): void {
  view.setUint16(at + CHECKSUM, 0);
  view.setUint16(at + CHECKSUM, ~sum.sum(at, bytes) & 0xffff, true);
}

/** sign6 writes the checksum of the ICMPv6 message right behind the IPv6 header at `ip`. */
export function sign6({ view }: Arena, sum: Checksum, ip: number, bytes: number): void {
  const at = ip + IP6.bytes;
  view.setUint16(at + CHECKSUM, 0);
  view.setUint16(at + CHECKSUM, ~fold32(sum.sum(at, bytes) + pseudo6(sum, ip, bytes)) & 0xffff, true);
}

/** signHeader4 writes the checksum of an IPv4 header without options. */
export function signHeader4({ view }: Arena, ip: number): void {
  view.setUint16(ip + IP4.checksum, 0);
  view.setUint16(ip + IP4.checksum, ~headerSum(view, ip, IP4.bytes) & 0xffff);
}
