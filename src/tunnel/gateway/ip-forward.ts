/** What forwarding checks and changes in an IPv4 header (RFC 1812 sections 5.2.2 and 5.3.1). */
import type { Arena } from "../../sys/mod.ts";
import { fold32 } from "../path/checksum.ts";
import { IP4 } from "../path/ip-header.ts";
import { headerSum } from "../xdp/ethernet.ts";

const WITHOUT_OPTIONS = 0x45;

/** isSoundHeader4 tells whether a header lies whole in `room` bytes, which are at least 20, and has the right checksum. */
export function isSoundHeader4({ view, u8 }: Arena, ip: number, room: number): boolean {
  if (u8[ip] === WITHOUT_OPTIONS) {
    // In words of 32 bits as halves: most packets have no options, and this is done for each.
    const a = view.getInt32(ip);
    const b = view.getInt32(ip + 4);
    const c = view.getInt32(ip + 8);
    const d = view.getInt32(ip + 12);
    const e = view.getInt32(ip + 16);
    const high = (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16) + (e >>> 16);
    const low = (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff) + (e & 0xffff);
    return fold32(high + low) === 0xffff;
  }
  const header = ((u8[ip] as number) & 15) * 4;
  return header >= IP4.bytes && header <= room && headerSum(view, ip, header) === 0xffff;
}

/** decrementTtl takes one from the TTL, and keeps the checksum right (RFC 1624). */
export function decrementTtl(view: DataView, ip: number): void {
  const word = view.getInt32(ip + IP4.ttl);
  const sum = (word & 0xffff) + 0x0100;
  view.setInt32(ip + IP4.ttl, ((word - 0x0100_0000) & 0xffff_0000) | ((sum + (sum >>> 16)) & 0xffff));
}
