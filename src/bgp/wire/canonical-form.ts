/**
 * Canonical attributes: the bytes under which a set of path attributes is kept once, whoever sent it.
 *
 * ```
 *  next hop length 1 (0, 4, 16, 32) | next hop | attributes, each code once, ascending: code 1 | flags 1 | length 2 | value
 * ```
 *
 * - AS_PATH and AGGREGATOR have 4-octet AS numbers; AS4_PATH and AS4_AGGREGATOR are merged into them (RFC 6793 section 4.2.3).
 * - NEXT_HOP, MP_REACH_NLRI, MP_UNREACH_NLRI are not among them: the next hop stands in front.
 * - Headers are all alike: the length has two octets, and the flags are without the bit that would say so and without the lower four.
 * - Unknown transitive attributes have their Partial bit set, because whoever they are sent to has them from a router that did not look
 *   into them; unknown non-transitive ones are left out (RFC 4271 section 5).
 */
import { readU16 } from "./octets.ts";

/** CANONICAL_HEADER_BYTES is what precedes each value in canonical bytes. */
export const CANONICAL_HEADER_BYTES = 4;

/** writeCanonicalHeader writes code, flags and length, and returns where the value begins. */
export function writeCanonicalHeader(
  out: Uint8Array,
  at: number,
  code: number,
  flags: number,
  length: number,
): number {
  out[at] = code;
  out[at + 1] = flags;
  out[at + 2] = length >>> 8;
  out[at + 3] = length;
  return at + CANONICAL_HEADER_BYTES;
}

/** canonicalAttributesAt returns where the first attribute of canonical bytes begins: behind the next hop. */
export function canonicalAttributesAt(bytes: Uint8Array, at: number): number {
  return at + 1 + (bytes[at] as number);
}

/** findAttribute returns where the header of an attribute is in canonical bytes `[at..end)`; -1 when there is none. */
export function findAttribute(bytes: Uint8Array, at: number, end: number, code: number): number {
  let position = canonicalAttributesAt(bytes, at);
  while (position < end && (bytes[position] as number) < code)
    position += CANONICAL_HEADER_BYTES + readU16(bytes, position + 2);
  return position < end && bytes[position] === code ? position : -1;
}
