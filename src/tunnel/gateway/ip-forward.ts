/** What forwarding checks and changes in an IPv4 header (RFC 1812 sections 5.2.2 and 5.3.1). */
import type { Arena } from "../../sys/mod.ts";
import { fold32 } from "../path/checksum.ts";
import { IP4 } from "../path/ip-header.ts";
import { headerSum } from "../xdp/ethernet.ts";

const WITHOUT_OPTIONS = 0x45;

/** isSoundHeader4 tells whether a header lies whole in `room` bytes, which are at least 20, and has the right checksum. */
export function isSoundHeader4({ view, u8 }: Arena, ip: number, room: number): boolean {
  if (u8[ip] === WITHOUT_OPTIONS) {
    return (
      sum5(
        view.getInt32(ip),
        view.getInt32(ip + 4),
        view.getInt32(ip + 8),
        view.getInt32(ip + 12),
        view.getInt32(ip + 16),
      ) === 0xffff
    );
  }
  const header = ((u8[ip] as number) & 15) * 4;
  return header >= IP4.bytes && header <= room && headerSum(view, ip, header) === 0xffff;
}

/** PLAIN4 is EtherType and first byte of a frame with IPv4 without options: bits 31 to 8 of the word at PLAIN4_AT. */
export const PLAIN4 = 0x08_0045;
export const PLAIN4_AT = 12;

/** sum5 returns the one's complement sum of a header without options, of its five words, folded: 0xffff if its checksum is right. */
export function sum5(a: number, b: number, c: number, d: number, e: number): number {
  const high = (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16) + (e >>> 16);
  const low = (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff) + (e & 0xffff);
  return fold32(high + low);
}

/** decremented returns the third word of a header with one less of TTL, and the checksum that is right then (RFC 1624). */
export function decremented(word: number): number {
  const sum = (word & 0xffff) + 0x0100;
  return ((word - 0x0100_0000) & 0xffff_0000) | ((sum + (sum >>> 16)) & 0xffff);
}

/** decrementTtl takes one from the TTL of the header at `ip`. */
export function decrementTtl(view: DataView, ip: number): void {
  view.setInt32(ip + IP4.ttl, decremented(view.getInt32(ip + IP4.ttl)));
}
