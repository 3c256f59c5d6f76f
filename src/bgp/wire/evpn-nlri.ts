/**
 * EVPN NLRI in place (RFC 7432 section 7, RFC 9136 section 3): between the wire and key + extra.
 *
 * ```
 *  wire   route type 1 | length 1 | body
 *
 *  type                        body                                                    key                    extra
 *  1 Ethernet A-D per ES, EVI  RD 8 | ESI 10 | tag 4 | label 3                         1 | RD | ESI | tag     label
 *  2 MAC/IP advertisement      RD 8 | ESI 10 | tag 4 | 48 1 | MAC 6 | bits 1 | IP | label 3 or 6
 *                                                                                      2 | RD | tag | MAC | bits | IP    ESI | labels
 *  3 inclusive multicast       RD 8 | tag 4 | bits 1 | originator 4, 16                3 | body               nothing
 *  4 Ethernet segment          RD 8 | ESI 10 | bits 1 | originator 4, 16               4 | body               nothing
 *  5 IP prefix                 RD 8 | ESI 10 | tag 4 | length 1 | prefix 4, 16 | gateway 4, 16 | label 3
 *                                                                                      5 | RD | tag | length | prefix    ESI | gateway | label
 *  others                      anything                                                type | body            nothing
 * ```
 *
 * Which parts are the key is said per type in RFC 7432 ("for the purpose of BGP route key processing") and RFC 9136 section 3.1.
 */
import { allZero } from "./octets.ts";
import { ROUTER_MAC, type RouterMac } from "./router-mac.ts";

/** EVPN_TYPE is the first octet of an EVPN NLRI, of the types that are looked into. */
export const EVPN_TYPE = {
  ethernetAutoDiscovery: 1,
  macIp: 2,
  inclusiveMulticast: 3,
  ethernetSegment: 4,
  ipPrefix: 5,
} as const;

/** What readEvpn fills: the cursor of nlri.ts. */
export interface EvpnTarget {
  readonly key: Uint8Array;
  keyBytes: number;
  readonly extra: Uint8Array;
  extraBytes: number;
  withdraw: boolean;
  skip: boolean;
  reason: string;
  readonly routerMac: RouterMac;
  fail(reason: string): -1;
}

/** readEvpn takes the NLRI at `at` (behind the path identifier), of which at least one octet is there; returns where the next begins, or -1. */
export function readEvpn(into: EvpnTarget, bytes: Uint8Array, at: number, end: number): number {
  if (end - at < 2) return into.fail("no room for an EVPN route type and length");
  const type = bytes[at] as number;
  const length = bytes[at + 1] as number;
  const body = at + 2;
  const next = body + length;
  if (next > end) return into.fail("an EVPN route that exceeds its field");
  const key = into.key;
  key[0] = type;
  switch (type) {
    case 1:
      if (length !== 25) return into.fail("an EVPN type 1 that has not 25 octets");
      copy(bytes, body, 22, key, 1);
      into.keyBytes = 23;
      copy(bytes, body + 22, 3, into.extra, 0);
      into.extraBytes = 3;
      return next;
    case 2:
      return readMacIp(into, bytes, body, length);
    case 3:
      // RD 8, tag 4: the originator's length is the 13th octet.
      return readOriginator(into, bytes, body, length, 12);
    case 4:
      // RD 8, ESI 10.
      return readOriginator(into, bytes, body, length, 18);
    case 5:
      return readPrefix(into, bytes, body, length);
    default:
      // RFC 7606 section 5.4 lets a receiver discard routes of types that it does not know; they are kept whole, and reflected.
      // One octet more than a key holds is what no type defined so far has: such a route is discarded.
      into.skip = length === 255;
      into.keyBytes = into.skip ? 1 : length + 1;
      if (!into.skip) copy(bytes, body, length, key, 1);
      return next;
  }
}

function readMacIp(into: EvpnTarget, bytes: Uint8Array, body: number, length: number): number {
  if (length < 33) return into.fail("an EVPN type 2 shorter than 33 octets");
  // RFC 7432 section 7.2: the MAC address length is in bits, and is 48.
  if (bytes[body + 22] !== 48) return into.fail("an EVPN type 2 whose MAC address has not 48 bits");
  const bits = bytes[body + 29] as number;
  if (bits !== 0 && bits !== 32 && bits !== 128)
    return into.fail("an EVPN type 2 whose IP address has not 0, 32 or 128 bits");
  const ip = bits >> 3;
  const labels = length - 30 - ip;
  if (labels !== 3 && labels !== 6)
    return into.fail("an EVPN type 2 whose length does not fit its IP address and one or two labels");
  const key = into.key;
  copy(bytes, body, 8, key, 1);
  copy(bytes, body + 18, 4, key, 9);
  copy(bytes, body + 23, 7 + ip, key, 13);
  into.keyBytes = 20 + ip;
  copy(bytes, body + 8, 10, into.extra, 0);
  copy(bytes, body + 30 + ip, labels, into.extra, 10);
  into.extraBytes = 10 + labels;
  return body + length;
}

function readOriginator(
  into: EvpnTarget,
  bytes: Uint8Array,
  body: number,
  length: number,
  bitsAt: number,
): number {
  const bits = length > bitsAt ? (bytes[body + bitsAt] as number) : 0;
  if ((bits !== 32 && bits !== 128) || length !== bitsAt + 1 + (bits >> 3))
    return into.fail("an EVPN type 3 or 4 whose length does not fit an originator of 32 or 128 bits");
  copy(bytes, body, length, into.key, 1);
  into.keyBytes = length + 1;
  return body + length;
}

function readPrefix(into: EvpnTarget, bytes: Uint8Array, body: number, length: number): number {
  if (length !== 34 && length !== 58) return into.fail("an EVPN type 5 that has not 34 or 58 octets");
  const ip = length === 34 ? 4 : 16;
  const bits = bytes[body + 22] as number;
  if (bits > ip * 8) return into.fail("an EVPN type 5 with a prefix longer than its family's addresses");
  const key = into.key;
  copy(bytes, body, 8, key, 1);
  copy(bytes, body + 18, 5 + ip, key, 9);
  maskBits(key, 14, ip, bits);
  into.keyBytes = 14 + ip;
  copy(bytes, body + 8, 10, into.extra, 0);
  copy(bytes, body + 23 + ip, ip + 3, into.extra, 10);
  into.extraBytes = 13 + ip;
  const hasEsi = !allZero(bytes, body + 8, 10);
  const hasGateway = !allZero(bytes, body + 23 + ip, ip);
  // RFC 9136 section 3.2: a route with an ESI and a gateway address at the same time is treated as withdrawn.
  if (hasEsi && hasGateway) withdrawn(into, "an EVPN type 5 with an ESI and a gateway address");
  // RFC 9136, notes of table 1: a route with an invalid router's MAC address is treated as withdrawn.
  else if (into.routerMac === ROUTER_MAC.invalid)
    withdrawn(into, "an EVPN type 5 whose router's MAC address is not that of one station");
  // RFC 9136 section 3.1: "If the received label is zero and the route does not contain an Overlay Index, it MUST be 'treat as withdraw'."
  else if (
    into.routerMac === ROUTER_MAC.none &&
    !hasEsi &&
    !hasGateway &&
    allZero(bytes, body + 23 + 2 * ip, 3)
  )
    withdrawn(into, "an EVPN type 5 without label, ESI, gateway and router's MAC address");
  return body + length;
}

function withdrawn(into: EvpnTarget, reason: string): void {
  into.withdraw = true;
  into.reason = reason;
}

/** evpnBytes returns how many octets writeEvpn will write. */
export function evpnBytes(key: Uint8Array, keyAt: number, keyBytes: number, extraBytes: number): number {
  switch (key[keyAt]) {
    case 1:
      return 27;
    case 2:
      // Two octets of type and length in place of one, and the octet that says 48.
      return keyBytes + 2 + (extraBytes === 0 ? 13 : extraBytes);
    case 5:
      return keyBytes === 18 ? 36 : 60;
    default:
      return keyBytes + 1;
  }
}

/** writeEvpn writes type, length and body; with `extraBytes` 0 as a withdrawal, whose ESI, gateway and label are zero. */
export function writeEvpn(
  key: Uint8Array,
  keyAt: number,
  keyBytes: number,
  extra: Uint8Array,
  extraAt: number,
  extraBytes: number,
  out: Uint8Array,
  at: number,
): number {
  const total = evpnBytes(key, keyAt, keyBytes, extraBytes);
  const end = at + total;
  const body = at + 2;
  out[at] = key[keyAt] as number;
  out[at + 1] = total - 2;
  switch (key[keyAt]) {
    case 1:
      copy(key, keyAt + 1, 22, out, body);
      copyOrZero(extra, extraAt, extraBytes, 3, out, body + 22);
      return end;
    case 2: {
      const ip = keyBytes - 20;
      copy(key, keyAt + 1, 8, out, body);
      copyOrZero(extra, extraAt, extraBytes, 10, out, body + 8);
      copy(key, keyAt + 9, 4, out, body + 18);
      out[body + 22] = 48;
      copy(key, keyAt + 13, 7 + ip, out, body + 23);
      copyOrZero(
        extra,
        extraAt + 10,
        extraBytes,
        extraBytes === 0 ? 3 : extraBytes - 10,
        out,
        body + 30 + ip,
      );
      return end;
    }
    case 5: {
      const ip = keyBytes - 14;
      copy(key, keyAt + 1, 8, out, body);
      copyOrZero(extra, extraAt, extraBytes, 10, out, body + 8);
      copy(key, keyAt + 9, 5 + ip, out, body + 18);
      copyOrZero(extra, extraAt + 10, extraBytes, 3 + ip, out, body + 23 + ip);
      return end;
    }
    default:
      copy(key, keyAt + 1, keyBytes - 1, out, body);
      return end;
  }
}

function copy(from: Uint8Array, fromAt: number, length: number, out: Uint8Array, at: number): void {
  for (let i = 0; i < length; i++) out[at + i] = from[fromAt + i] as number;
}

function copyOrZero(
  from: Uint8Array,
  fromAt: number,
  present: number,
  length: number,
  out: Uint8Array,
  at: number,
): void {
  if (present === 0) for (let i = 0; i < length; i++) out[at + i] = 0;
  else copy(from, fromAt, length, out, at);
}

/** Zeroes the bits of an address behind a prefix's length. */
function maskBits(bytes: Uint8Array, at: number, length: number, bits: number): void {
  let i = bits >> 3;
  if ((bits & 7) !== 0) {
    bytes[at + i] = (bytes[at + i] as number) & (0xff00 >> (bits & 7));
    i++;
  }
  for (; i < length; i++) bytes[at + i] = 0;
}
