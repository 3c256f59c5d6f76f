/** What a command or a metric asks of a table: which routes it wants. Looked at in place, so that a search of a million decodes only what it finds. */
import { ipBytes, type Ip, type Mac, macBytes, type Prefix, prefixAddress } from "../../net/mod.ts";
import {
  ATTRIBUTE,
  type BgpFamily,
  CANONICAL_HEADER_BYTES,
  EVPN,
  ROUTE_TARGET,
  findAttribute,
  readU16,
  readU24,
  readU32,
} from "../wire/mod.ts";
import type { AttributeStore } from "./attribute-store.ts";

/** RouteFilter names the routes that are wanted; all that is given has to hold. */
export interface RouteFilter {
  readonly family: BgpFamily;
  /** Of IPv4 and IPv6 unicast, and of EVPN types 2 (its address) and 5. */
  readonly prefix?: Prefix;
  /** The prefix itself (the default), all that it covers, or of those that cover it the longest. */
  readonly match?: "exact" | "longer" | "longest";
  /** Route distinguisher, eight octets. */
  readonly rd?: Uint8Array;
  /** EVPN route type. */
  readonly type?: number;
  readonly mac?: Mac;
  /** VNI: the first or the second label of EVPN types 1, 2 and 5. */
  readonly vni?: number;
  /** Route target, eight octets. */
  readonly routeTarget?: Uint8Array;
  readonly community?: number;
  /** Number of a peer; 0 is this router. */
  readonly peer?: number;
  readonly bestOnly?: boolean;
}

/** matchesKey tells whether a destination is wanted, as far as its key says. `longest` is not decided here. */
export function matchesKey(filter: RouteFilter, key: Uint8Array): boolean {
  const { prefix, match = "exact" } = filter;
  // A route target is no network, though its key is written like one.
  if (filter.family === ROUTE_TARGET && prefix !== undefined) return false;
  if (filter.family !== EVPN) return prefix === undefined || matchesPrefix(prefix, match, key, 0);
  const type = key[0] as number;
  if (filter.type !== undefined && filter.type !== type) return false;
  const { rd, mac } = filter;
  if (rd !== undefined && (type > 5 || !holds(key, 1, rd))) return false;
  if (mac !== undefined && (type !== 2 || !holds(key, 13, macBytes(mac)))) return false;
  if (prefix === undefined) return true;
  // Type 2: RD 8, tag 4, MAC 6, length 1; type 5: RD 8, tag 4, length 1.
  // The longest prefix is asked of prefixes; a type 2 is an address.
  return (
    (type === 5 || (type === 2 && match !== "longest")) &&
    matchesPrefix(prefix, match, key, type === 2 ? 19 : 13)
  );
}

/** matchesExtra tells whether labels are the wanted ones. */
export function matchesExtra(filter: RouteFilter, key: Uint8Array, extra: Uint8Array): boolean {
  const { vni } = filter;
  if (vni === undefined) return true;
  const type = key[0];
  if (filter.family !== EVPN || extra.length < 3) return false;
  if (type === 1) return readU24(extra, 0) === vni;
  if (type === 5) return readU24(extra, extra.length - 3) === vni;
  if (type !== 2) return false;
  for (let at = 10; at + 3 <= extra.length; at += 3) if (readU24(extra, at) === vni) return true;
  return false;
}

/** matchesAttributes tells whether a set has the wanted community and route target. */
export function matchesAttributes(filter: RouteFilter, store: AttributeStore, id: number): boolean {
  const { community, routeTarget } = filter;
  if (community === undefined && routeTarget === undefined) return true;
  const bytes = store.copyOf(id);
  const has = (code: number, itemBytes: number, isIt: (at: number) => boolean) => {
    const header = findAttribute(bytes, 0, bytes.length, code);
    if (header < 0) return false;
    const end = header + CANONICAL_HEADER_BYTES + readU16(bytes, header + 2);
    for (let at = header + CANONICAL_HEADER_BYTES; at < end; at += itemBytes) if (isIt(at)) return true;
    return false;
  };
  return (
    (community === undefined || has(ATTRIBUTE.communities, 4, (at) => readU32(bytes, at) === community)) &&
    (routeTarget === undefined ||
      has(ATTRIBUTE.extendedCommunities, 8, (at) => holds(bytes, at, routeTarget)))
  );
}

/** prefixKey is the key of a prefix in IPv4 or IPv6 unicast. */
export function prefixKey(address: Ip, length: number): Uint8Array<ArrayBuffer> {
  const bytes = ipBytes(address);
  const key = new Uint8Array(1 + ((length + 7) >>> 3));
  key[0] = length;
  key.set(bytes.subarray(0, key.length - 1), 1);
  if ((length & 7) !== 0) key[key.length - 1] = (key[key.length - 1] as number) & (0xff00 >> (length & 7));
  return key;
}

function matchesPrefix(prefix: Prefix, match: string, key: Uint8Array, lengthAt: number): boolean {
  const wanted = ipBytes(prefixAddress(prefix));
  const bits = key[lengthAt] as number;
  const octets = key.length - lengthAt - 1;
  // EVPN has whole addresses: four octets are IPv4. Unicast keys are cut, and of one family by their table.
  if (lengthAt > 0 && octets !== wanted.length) return false;
  const [most, least] = match === "longest" ? [bits, 0] : [prefix.length, prefix.length];
  if (match === "exact" ? bits !== prefix.length : match === "longer" ? bits < least : bits > prefix.length)
    return false;
  for (let bit = 0; bit < most; bit++) {
    const mask = 0x80 >> (bit & 7);
    if ((((key[lengthAt + 1 + (bit >>> 3)] as number) ^ (wanted[bit >>> 3] as number)) & mask) !== 0)
      return false;
  }
  return true;
}

function holds(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}
