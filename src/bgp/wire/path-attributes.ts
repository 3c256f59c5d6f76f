/**
 * Path attributes as a readonly value, for policy, commands and what we announce; and the way between the value and canonical bytes.
 *
 * The value says all that the bytes say: an attribute that is not known, or whose octets its codec would not write the same way, is
 * in `others` as octets.
 */
import { type Ip, ipBytes, ipFromBytes } from "../../net/mod.ts";
import type { AsPath } from "./as-path.ts";
import { FLAG } from "./attribute-code.ts";
import { attributeRow, attributeRows } from "./attribute-table.ts";
import { CANONICAL_HEADER_BYTES, canonicalAttributesAt, writeCanonicalHeader } from "./canonical-form.ts";
import type { ExtendedCommunity } from "./extended-community.ts";
import type { LargeCommunity } from "./large-community.ts";
import { readU16 } from "./octets.ts";
import type { PmsiTunnel } from "./pmsi-tunnel.ts";
import type { EncapsulationTunnel } from "./tunnel-encapsulation.ts";

/** Origin says where the first AS had a route from (RFC 4271 section 5.1.1). */
export type Origin = "igp" | "egp" | "incomplete";

/** NextHop is a next hop; on a link it may have a link-local address beside a global one (RFC 2545). */
export interface NextHop {
  readonly address: Ip;
  readonly linkLocal?: Ip;
}

/** Aggregator is who made an aggregate (RFC 4271 section 5.1.7). */
export interface Aggregator {
  readonly as: number;
  readonly address: Ip;
}

/** RawAttribute is an attribute as octets; `flags` without the length's. */
export interface RawAttribute {
  readonly code: number;
  readonly flags: number;
  readonly value: Uint8Array;
}

/** PathAttributes are the attributes of a route. */
export interface PathAttributes {
  readonly nextHop?: NextHop;
  readonly origin: Origin;
  readonly asPath: AsPath;
  readonly med?: number;
  readonly localPreference?: number;
  readonly atomicAggregate?: true;
  readonly aggregator?: Aggregator;
  readonly communities?: readonly number[];
  /** A BGP identifier, as an IPv4 address. */
  readonly originatorId?: Ip;
  readonly clusterList?: readonly Ip[];
  readonly extendedCommunities?: readonly ExtendedCommunity[];
  readonly pmsiTunnel?: PmsiTunnel;
  readonly tunnelEncapsulation?: readonly EncapsulationTunnel[];
  /** 20 octets each (RFC 5701). */
  readonly ipv6ExtendedCommunities?: readonly Uint8Array[];
  readonly aigp?: bigint;
  readonly largeCommunities?: readonly LargeCommunity[];
  readonly onlyToCustomer?: number;
  /** Ascending by code. */
  readonly others?: readonly RawAttribute[];
  /** Codes of the known attributes that have the Partial bit set. */
  readonly partial?: readonly number[];
}

/** AttributeField names a field that is an attribute of its own. */
export type AttributeField = Exclude<keyof PathAttributes, "nextHop" | "others" | "partial">;

/** decodeNextHop reads 4, 16 or 32 octets; undefined for another length. */
export function decodeNextHop(bytes: Uint8Array): NextHop | undefined {
  if (bytes.length === 4 || bytes.length === 16) return { address: ipFromBytes(bytes) };
  if (bytes.length !== 32) return undefined;
  return { address: ipFromBytes(bytes.subarray(0, 16)), linkLocal: ipFromBytes(bytes.subarray(16)) };
}

/** encodeNextHop returns 4, 16 or 32 octets. */
export function encodeNextHop({ address, linkLocal }: NextHop): Uint8Array {
  if (linkLocal === undefined) return ipBytes(address);
  return Uint8Array.of(...ipBytes(address), ...ipBytes(linkLocal));
}

/** attributesOf reads canonical bytes. */
export function attributesOf(canonical: Uint8Array): PathAttributes {
  const attributes: Record<string, unknown> = { origin: "incomplete", asPath: [] };
  const others: RawAttribute[] = [];
  const partial: number[] = [];
  const nextHop = decodeNextHop(canonical.subarray(1, canonicalAttributesAt(canonical, 0)));
  if (nextHop !== undefined) attributes["nextHop"] = nextHop;
  for (let at = canonicalAttributesAt(canonical, 0); at < canonical.length;) {
    const code = canonical[at] as number;
    const flags = canonical[at + 1] as number;
    const from = at + CANONICAL_HEADER_BYTES;
    at = from + readU16(canonical, at + 2);
    const value = canonical.slice(from, at);
    const row = attributeRow(code);
    const decoded = row?.codec?.decode(value);
    const same =
      row?.codec !== undefined &&
      decoded !== undefined &&
      (flags & ~FLAG.partial) === row.flags &&
      Buffer.compare(Uint8Array.from(row.codec.encode(decoded)), value) === 0;
    if (!same) {
      others.push({ code, flags, value });
      continue;
    }
    attributes[row.codec.field] = decoded;
    if ((flags & FLAG.partial) !== 0) partial.push(code);
  }
  if (others.length > 0) attributes["others"] = others;
  if (partial.length > 0) attributes["partial"] = partial;
  return attributes as unknown as PathAttributes;
}

/** encodeCanonical returns canonical bytes; RangeError for a value that does not fit its field. */
export function encodeCanonical(attributes: PathAttributes): Uint8Array<ArrayBuffer> {
  const list: RawAttribute[] = [...(attributes.others ?? [])];
  for (const { code, flags, codec } of attributeRows) {
    const value = codec === undefined ? undefined : attributes[codec.field];
    if (codec === undefined || value === undefined || list.some((other) => other.code === code)) continue;
    const bits = attributes.partial?.includes(code) === true ? flags | FLAG.partial : flags;
    list.push({ code, flags: bits, value: Uint8Array.from(codec.encode(value)) });
  }
  list.sort((a, b) => a.code - b.code);
  const nextHop = attributes.nextHop === undefined ? new Uint8Array(0) : encodeNextHop(attributes.nextHop);
  const length = list.reduce(
    (sum, { value }) => sum + CANONICAL_HEADER_BYTES + value.length,
    1 + nextHop.length,
  );
  const bytes = new Uint8Array(new ArrayBuffer(length));
  bytes[0] = nextHop.length;
  bytes.set(nextHop, 1);
  let at = 1 + nextHop.length;
  for (const { code, flags, value } of list) {
    if (value.length > 0xffff)
      throw new RangeError(`Attribute ${code} has at most 65535 octets; it would have ${value.length}`);
    at = writeCanonicalHeader(bytes, at, code, flags, value.length);
    bytes.set(value, at);
    at += value.length;
  }
  return bytes;
}
