/**
 * NLRI in place: a cursor that takes one after another from an UPDATE, and the way back.
 *
 * An NLRI is taken apart into `key` (which destination it is) and `extra` (what belongs to the path and not to the destination).
 * Both are canonical: bits behind a prefix's length are zero, so that equal destinations have equal bytes.
 *
 * ```
 *  ipv4-unicast, ipv6-unicast   key: length in bits 1 | prefix 0 to 4 or 0 to 16          extra: nothing
 *  route-target                 key: length in bits 1 | origin AS 4, route target 8, cut  extra: nothing
 *  l2vpn-evpn                   evpn-nlri.ts
 * ```
 */
import { EVPN, IPV4_UNICAST, IPV6_UNICAST, ROUTE_TARGET, type BgpFamily } from "./family.ts";
import { evpnBytes, readEvpn, writeEvpn } from "./evpn-nlri.ts";
import { readU32, writeU32 } from "./octets.ts";
import { ROUTER_MAC, type RouterMac } from "./router-mac.ts";

/** KEY_BYTES_MAX is the longest key: fits one octet. Known routes have at most 36; an EVPN route of an unknown type is a key as a whole. */
export const KEY_BYTES_MAX = 255;
/** EXTRA_BYTES_MAX is the longest extra: ESI, IPv6 gateway and label of a type 5. */
export const EXTRA_BYTES_MAX = 29;

/** NlriCursor takes NLRI of one family from bytes. It is reused: what `next` fills is valid until the next call. */
export class NlriCursor {
  /** The destination: `key[0..keyBytes)`. */
  readonly key: Uint8Array = new Uint8Array(new ArrayBuffer(KEY_BYTES_MAX + 1));
  keyBytes = 0;
  /** What is not part of the destination: `extra[0..extraBytes)`. */
  readonly extra: Uint8Array = new Uint8Array(new ArrayBuffer(64));
  extraBytes = 0;
  /** Path identifier (RFC 7911), 0 without add-path. */
  pathId = 0;
  /** This NLRI says something that makes a receiver take it as withdrawn, though it could be read (RFC 9136 section 3.1). */
  withdraw = false;
  /** This NLRI is to be passed over. */
  skip = false;
  /** What is wrong, when `next` returned -1 or `withdraw` is set. */
  reason = "";

  /** Set it to the UpdateView's before NLRI that are announced: a type 5 is judged by it too (RFC 9136 section 3.1 and table 1). */
  routerMac: RouterMac = ROUTER_MAC.unknown;

  /** Family of the NLRI. */
  family: BgpFamily;

  constructor(family: BgpFamily) {
    this.family = family;
  }

  /** next takes the NLRI at `at` and returns where the next one begins; -1 when there is none that can be read. */
  next(bytes: Uint8Array, at: number, end: number, addPath: boolean): number {
    let position = at;
    this.withdraw = false;
    this.skip = false;
    this.pathId = 0;
    this.extraBytes = 0;
    if (addPath) {
      if (end - position < 4) return this.fail("no room for a path identifier");
      this.pathId = readU32(bytes, position);
      position += 4;
    }
    if (position >= end) return this.fail("no room for a length");
    if (this.family === EVPN) return readEvpn(this, bytes, position, end);
    const bits = bytes[position] as number;
    const mostBits = this.family === IPV4_UNICAST ? 32 : this.family === IPV6_UNICAST ? 128 : 96;
    if (bits > mostBits) return this.fail("a prefix longer than its family's addresses");
    // RFC 4684 section 4: "Except for the default route target, which is encoded as a zero-length prefix, the minimum prefix length is 32 bits."
    if (this.family === ROUTE_TARGET && bits > 0 && bits < 32)
      return this.fail("a route target prefix shorter than its origin AS");
    const length = (bits + 7) >> 3;
    if (length > end - position - 1) return this.fail("a prefix that exceeds its field");
    const key = this.key;
    for (let i = 0; i <= length; i++) key[i] = bytes[position + i] as number;
    // RFC 4271 section 4.3: the value of trailing bits is irrelevant.
    if ((bits & 7) !== 0) key[length] = (key[length] as number) & (0xff00 >> (bits & 7));
    this.keyBytes = length + 1;
    return position + 1 + length;
  }

  /** fail notes why an NLRI cannot be read. */
  fail(reason: string): -1 {
    this.reason = reason;
    return -1;
  }
}

/** nlriBytes returns how many octets writeNlri will write. */
export function nlriBytes(
  family: BgpFamily,
  addPath: boolean,
  key: Uint8Array,
  keyAt: number,
  keyBytes: number,
  extraBytes: number,
): number {
  const length = family === EVPN ? evpnBytes(key, keyAt, keyBytes, extraBytes) : keyBytes;
  return addPath ? length + 4 : length;
}

/**
 * writeNlri puts key and extra together again at `at` and returns what follows. With `extraBytes` 0 it writes the form of a withdrawal:
 * labels are not part of the destination, and are sent as zero.
 */
export function writeNlri(
  family: BgpFamily,
  addPath: boolean,
  pathId: number,
  key: Uint8Array,
  keyAt: number,
  keyBytes: number,
  extra: Uint8Array,
  extraAt: number,
  extraBytes: number,
  out: Uint8Array,
  at: number,
): number {
  const position = addPath ? writeU32(out, at, pathId) : at;
  if (family === EVPN) return writeEvpn(key, keyAt, keyBytes, extra, extraAt, extraBytes, out, position);
  for (let i = 0; i < keyBytes; i++) out[position + i] = key[keyAt + i] as number;
  return position + keyBytes;
}
