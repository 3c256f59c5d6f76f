/**
 * What a node says on a LAN when it takes over an address, so that its neighbours need not find out: an ARP announcement (RFC 5227 section
 * 1.1), or an unsolicited neighbour advertisement (RFC 4861 section 7.2.6).
 */
import { type Ip, ipBytes, type Mac, macBytes, parseIp, parseMac } from "../net/mod.ts";

const BROADCAST = macBytes(parseMac("ff:ff:ff:ff:ff:ff"));
const ALL_NODES_MAC = macBytes(parseMac("33:33:00:00:00:01"));
const ALL_NODES = ipBytes(parseIp("ff02::1"));
const ZERO_MAC = new Uint8Array(6);

/** Ethernet, IPv4, lengths of both addresses, request. */
const ARP_HEADER = [0, 1, 0x08, 0x00, 6, 4, 0, 1];
/** Version, payload of 32 bytes of ICMPv6, hop limit. */
const IPV6_HEADER = [0x60, 0, 0, 0, 0, 32, 58, 255];
/** Type 136, code, no checksum yet, and the flag that overrides what is known. */
const ADVERT_HEADER = [136, 0, 0, 0, 0x20, 0, 0, 0];
const ADVERT_AT = 14 + 40;

/** takeOverFrame returns the frame that tells where an address is now. */
export function takeOverFrame(address: Ip, mac: Mac): Uint8Array {
  const [ip, own] = [ipBytes(address), macBytes(mac)];
  if (address.family === 4) return joined(BROADCAST, own, [0x08, 0x06], ARP_HEADER, own, ip, ZERO_MAC, ip);
  const frame = joined(
    ...[ALL_NODES_MAC, own, [0x86, 0xdd]],
    ...[IPV6_HEADER, ip, ALL_NODES],
    // Option 2: the address of the link, in units of 8 bytes.
    ...[ADVERT_HEADER, ip, [2, 1], own],
  );
  const pseudo = joined(ip, ALL_NODES, [0, 0, 0, 32, 0, 0, 0, 58], frame.subarray(ADVERT_AT));
  new DataView(frame.buffer).setUint16(ADVERT_AT + 2, checksum(pseudo));
  return frame;
}

function joined(...parts: readonly ArrayLike<number>[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(parts.flatMap((part) => [...Array.from(part)]));
}

/** RFC 1071, of an even number of bytes. */
function checksum(bytes: Uint8Array<ArrayBuffer>): number {
  const view = new DataView(bytes.buffer);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
