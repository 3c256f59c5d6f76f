/** What is wrong with attributes that are made of TLVs: AIGP, tunnel encapsulation, prefix SID, and ATTR_SET, which holds attributes. */
import { ATTRIBUTE, FLAG } from "./attribute-code.ts";
import { type CheckContext, refuse } from "./check-context.ts";
import { UPDATE_ERROR } from "./notification.ts";
import { readU16 } from "./octets.ts";
import { ACCEPT, DISCARD, type Reaction, WITHDRAW } from "./reaction.ts";
import type { UpdateSession } from "./update-session.ts";

const WRONG = UPDATE_ERROR.optionalAttribute;

/** checkAigp: TLVs of type 1, length 2 (with these three octets). RFC 7311 section 3.2 and 3.3: attribute discard. */
export function checkAigp(bytes: Uint8Array, at: number, length: number, context: CheckContext): Reaction {
  // Section 3.3: on a session without AIGP_SESSION the attribute is taken as an unrecognized non-transitive one.
  if (context.session.aigp !== true)
    return refuse(context, DISCARD, "AIGP on a session for which it is not enabled", WRONG);
  const end = at + length;
  let position = at;
  let seen = false;
  while (position < end) {
    if (end - position < 3) return refuse(context, DISCARD, "AIGP with an incomplete TLV", WRONG);
    const bytesOfTlv = readU16(bytes, position + 1);
    if (bytesOfTlv < 3 || bytesOfTlv > end - position)
      return refuse(context, DISCARD, "AIGP with a TLV that exceeds it", WRONG);
    // Section 3: the first TLV of type 1 counts, and has 11 octets.
    if (bytes[position] === 1 && !seen) {
      if (bytesOfTlv !== 11) return refuse(context, DISCARD, "AIGP whose metric has not 8 octets", WRONG);
      seen = true;
    }
    position += bytesOfTlv;
  }
  return seen ? ACCEPT : refuse(context, DISCARD, "AIGP without a metric", WRONG);
}

/**
 * checkTunnelEncapsulation: TLVs of type 2, length 2; in each sub-TLVs of type 1 and length 1, or 2 for types from 128 on.
 * RFC 9012 section 13: a TLV whose last octet is not that of its last sub-TLV is malformed: treat-as-withdraw. Types and values are not looked into.
 */
export function checkTunnelEncapsulation(
  bytes: Uint8Array,
  at: number,
  length: number,
  context: CheckContext,
): Reaction {
  const end = at + length;
  let position = at;
  while (position < end) {
    if (end - position < 4)
      return refuse(context, WITHDRAW, "TUNNEL_ENCAPSULATION with an incomplete TLV", WRONG);
    const next = position + 4 + readU16(bytes, position + 2);
    if (next > end)
      return refuse(context, WITHDRAW, "TUNNEL_ENCAPSULATION with a TLV that exceeds it", WRONG);
    for (position += 4; position < next;) {
      const header = (bytes[position] as number) < 128 ? 2 : 3;
      if (next - position < header)
        return refuse(context, WITHDRAW, "TUNNEL_ENCAPSULATION with an incomplete sub-TLV", WRONG);
      position += header + (header === 2 ? (bytes[position + 1] as number) : readU16(bytes, position + 1));
    }
    if (position !== next)
      return refuse(context, WITHDRAW, "TUNNEL_ENCAPSULATION with a sub-TLV that exceeds its TLV", WRONG);
  }
  return length > 0 ? ACCEPT : refuse(context, WITHDRAW, "TUNNEL_ENCAPSULATION without a TLV", WRONG);
}

/** checkPrefixSid: TLVs of type 1, length 2; the label index (1) has 7 octets, the originator SRGB (3) flags and ranges of 6. RFC 8669 section 6: attribute discard. */
export function checkPrefixSid(
  bytes: Uint8Array,
  at: number,
  length: number,
  context: CheckContext,
): Reaction {
  // RFC 8669 section 4: from an external neighbour outside of the domain it is discarded; no neighbour is configured to be inside.
  if (context.session.external) return refuse(context, DISCARD, "PREFIX_SID from an external peer", WRONG);
  const end = at + length;
  let position = at;
  while (position < end) {
    if (end - position < 3) return refuse(context, DISCARD, "PREFIX_SID with an incomplete TLV", WRONG);
    const type = bytes[position] as number;
    const size = readU16(bytes, position + 1);
    position += 3 + size;
    if (position > end) return refuse(context, DISCARD, "PREFIX_SID with a TLV that exceeds it", WRONG);
    if ((type === 1 && size !== 7) || (type === 3 && (size < 8 || (size - 2) % 6 !== 0)))
      return refuse(context, DISCARD, "PREFIX_SID with a TLV of the wrong length", WRONG);
  }
  return length > 0 ? ACCEPT : refuse(context, DISCARD, "PREFIX_SID without a TLV", WRONG);
}

/** Codes that an ATTR_SET may hold without being looked into: next hop, and what only speakers of 2-octet AS numbers say. */
const unread: readonly number[] = [ATTRIBUTE.nextHop, ATTRIBUTE.as4Path, ATTRIBUTE.as4Aggregator];
/** An ATTR_SET may hold an ATTR_SET, as deep as a peer likes; nobody has use for more. */
const NESTED_MAX = 4;

/**
 * checkAttributeSet: an AS of four octets, then path attributes, of which AS numbers have four octets and which are those of an internal peer
 * (RFC 6368 section 5). It is malformed when one of them is, or is MP_REACH_NLRI or MP_UNREACH_NLRI; RFC 7606 section 7.16: treat-as-withdraw.
 */
export function checkAttributeSet(
  bytes: Uint8Array,
  at: number,
  length: number,
  context: CheckContext,
): Reaction {
  const outer = context.session;
  context.session = customer;
  const reason = setFault(bytes, at, at + length, context, NESTED_MAX);
  context.session = outer;
  return reason === "" ? ACCEPT : refuse(context, WITHDRAW, reason, WRONG);
}

const customer: UpdateSession = {
  external: false,
  as4: true,
  families: new Set(),
  addPathReceive: new Set(),
  extendedNextHop: new Set(),
  aigp: true,
  asSets: true,
};

function setFault(bytes: Uint8Array, at: number, end: number, context: CheckContext, depth: number): string {
  if (depth === 0) return "ATTR_SET in ATTR_SET in ATTR_SET and so on";
  if (end - at < 4) return "ATTR_SET is shorter than its AS";
  let position = at + 4;
  while (position < end) {
    const flags = bytes[position] as number;
    const header = (flags & FLAG.extendedLength) === 0 ? 3 : 4;
    if (end - position < header) return "ATTR_SET with an incomplete attribute";
    const code = bytes[position + 1] as number;
    const value = position + header;
    const length = header === 3 ? (bytes[position + 2] as number) : readU16(bytes, position + 2);
    position = value + length;
    if (position > end) return "ATTR_SET with an attribute that exceeds it";
    if (code === ATTRIBUTE.mpReach || code === ATTRIBUTE.mpUnreach) return "ATTR_SET with NLRI";
    if (unread.includes(code)) continue;
    if (code === ATTRIBUTE.attributeSet) {
      const inner = setFault(bytes, value, position, context, depth - 1);
      if (inner !== "") return inner;
      continue;
    }
    const row = context.rowOf(code);
    if (row === undefined) continue;
    if (((flags ^ row.flags) & 0xc0) !== 0 || row.check(bytes, value, length, context) !== ACCEPT)
      return "ATTR_SET with a malformed attribute";
  }
  return "";
}
