/**
 * What is wrong with the value of a path attribute that is a number, an address, or a list of either. The sentence that asks for a
 * reaction stands with each check. AS paths are in as-path-check.ts, TLVs in tlv-check.ts.
 */
import { type CheckContext, refuse } from "./check-context.ts";
import { isHostAddress4 } from "./next-hop.ts";
import { UPDATE_ERROR } from "./notification.ts";
import { readU16, readU32 } from "./octets.ts";
import { ACCEPT, DISCARD, type Reaction, WITHDRAW } from "./reaction.ts";

/** RFC 7606 section 7.1: malformed if its length is not 1 or its value is undefined; treat-as-withdraw. */
export function checkOrigin(bytes: Uint8Array, at: number, length: number, context: CheckContext): Reaction {
  if (length !== 1) return refuse(context, WITHDRAW, "ORIGIN has not 1 octet");
  if ((bytes[at] as number) > 2)
    return refuse(context, WITHDRAW, "ORIGIN is none of 0, 1, 2", UPDATE_ERROR.invalidOrigin);
  return ACCEPT;
}

/** RFC 7606 section 7.3: malformed if its length is not 4; treat-as-withdraw. What is no host's address is no next hop (RFC 4271 section 6.3). */
export function checkNextHop(bytes: Uint8Array, at: number, length: number, context: CheckContext): Reaction {
  if (length !== 4) return refuse(context, WITHDRAW, "NEXT_HOP has not 4 octets");
  if (!isHostAddress4(bytes, at))
    return refuse(context, WITHDRAW, "NEXT_HOP is not the address of a host", UPDATE_ERROR.invalidNextHop);
  return ACCEPT;
}

/** RFC 7606 section 7.4: malformed if its length is not 4; treat-as-withdraw. */
export function checkMed(_bytes: Uint8Array, _at: number, length: number, context: CheckContext): Reaction {
  return length === 4 ? ACCEPT : refuse(context, WITHDRAW, "MULTI_EXIT_DISC has not 4 octets");
}

/** RFC 7606 section 7.5: malformed if its length is not 4; treat-as-withdraw. */
export function checkLocalPreference(
  _bytes: Uint8Array,
  _at: number,
  length: number,
  context: CheckContext,
): Reaction {
  return length === 4 ? ACCEPT : refuse(context, WITHDRAW, "LOCAL_PREF has not 4 octets");
}

/** RFC 7606 section 7.6: malformed if its length is not 0; attribute discard. */
export function checkAtomicAggregate(
  _bytes: Uint8Array,
  _at: number,
  length: number,
  context: CheckContext,
): Reaction {
  return length === 0 ? ACCEPT : refuse(context, DISCARD, "ATOMIC_AGGREGATE has a value");
}

/** RFC 7606 section 7.7: malformed if its length is not 6, or 8 on a session with 4-octet AS numbers; attribute discard. AS 0: RFC 7607 section 2. */
export function checkAggregator(
  bytes: Uint8Array,
  at: number,
  length: number,
  context: CheckContext,
): Reaction {
  const { as4 } = context.session;
  if (length !== (as4 ? 8 : 6))
    return refuse(context, DISCARD, "AGGREGATOR has not the length that goes with the size of AS numbers");
  if ((as4 ? readU32(bytes, at) : readU16(bytes, at)) === 0)
    return refuse(context, DISCARD, "AGGREGATOR with AS 0", UPDATE_ERROR.optionalAttribute);
  return ACCEPT;
}

/** RFC 6793 section 6: malformed if its length is not 8; attribute discard. From a speaker of 4-octet AS numbers it is discarded. AS 0: RFC 7607 section 2. */
export function checkAs4Aggregator(
  bytes: Uint8Array,
  at: number,
  length: number,
  context: CheckContext,
): Reaction {
  if (context.session.as4)
    return refuse(context, DISCARD, "AS4_AGGREGATOR on a session with 4-octet AS numbers");
  if (length !== 8) return refuse(context, DISCARD, "AS4_AGGREGATOR has not 8 octets");
  if (readU32(bytes, at) === 0)
    return refuse(context, DISCARD, "AS4_AGGREGATOR with AS 0", UPDATE_ERROR.optionalAttribute);
  return ACCEPT;
}

/** RFC 7606 section 7.9: malformed if its length is not 4; treat-as-withdraw. */
export function checkOriginatorId(
  _bytes: Uint8Array,
  _at: number,
  length: number,
  context: CheckContext,
): Reaction {
  return length === 4 ? ACCEPT : refuse(context, WITHDRAW, "ORIGINATOR_ID has not 4 octets");
}

/** RFC 7606 section 7.10: malformed if its length is not a non-zero multiple of 4; treat-as-withdraw. */
export function checkClusterList(
  _bytes: Uint8Array,
  _at: number,
  length: number,
  context: CheckContext,
): Reaction {
  return isMultiple(length, 4)
    ? ACCEPT
    : refuse(context, WITHDRAW, "CLUSTER_LIST has not a non-zero multiple of 4 octets");
}

/** RFC 7606 section 7.8: malformed if its length is not a non-zero multiple of 4; treat-as-withdraw. */
export function checkCommunities(
  _bytes: Uint8Array,
  _at: number,
  length: number,
  context: CheckContext,
): Reaction {
  return isMultiple(length, 4)
    ? ACCEPT
    : refuse(context, WITHDRAW, "COMMUNITIES has not a non-zero multiple of 4 octets");
}

/** RFC 7606 section 7.14: malformed if its length is not a non-zero multiple of 8; treat-as-withdraw. */
export function checkExtendedCommunities(
  _bytes: Uint8Array,
  _at: number,
  length: number,
  context: CheckContext,
): Reaction {
  return isMultiple(length, 8)
    ? ACCEPT
    : refuse(context, WITHDRAW, "EXTENDED COMMUNITIES has not a non-zero multiple of 8 octets");
}

/** RFC 7606 section 7.15: malformed if its length is not a non-zero multiple of 20; treat-as-withdraw. */
export function checkIpv6ExtendedCommunities(
  _bytes: Uint8Array,
  _at: number,
  length: number,
  context: CheckContext,
): Reaction {
  return isMultiple(length, 20)
    ? ACCEPT
    : refuse(
        context,
        WITHDRAW,
        "IPv6 EXTENDED COMMUNITIES has not a non-zero multiple of 20 octets",
        UPDATE_ERROR.optionalAttribute,
      );
}

/** RFC 8092 section 6: malformed if its length is not a non-zero multiple of 12; treat-as-withdraw. */
export function checkLargeCommunities(
  _bytes: Uint8Array,
  _at: number,
  length: number,
  context: CheckContext,
): Reaction {
  return isMultiple(length, 12)
    ? ACCEPT
    : refuse(
        context,
        WITHDRAW,
        "LARGE_COMMUNITY has not a non-zero multiple of 12 octets",
        UPDATE_ERROR.optionalAttribute,
      );
}

/** RFC 7606 section 7.13: malformed when it is shorter than what RFC 5543 lays out; treat-as-withdraw. */
export function checkTrafficEngineering(
  _bytes: Uint8Array,
  _at: number,
  length: number,
  context: CheckContext,
): Reaction {
  // RFC 5543 section 3: a descriptor has four octets and eight bandwidths of four.
  return length >= 36
    ? ACCEPT
    : refuse(
        context,
        WITHDRAW,
        "TRAFFIC ENGINEERING is shorter than one descriptor",
        UPDATE_ERROR.optionalAttribute,
      );
}

/** RFC 9234 section 5: malformed if its length is not 4; treat-as-withdraw. AS 0 is nobody's (RFC 7607). */
export function checkOnlyToCustomer(
  bytes: Uint8Array,
  at: number,
  length: number,
  context: CheckContext,
): Reaction {
  if (length !== 4)
    return refuse(context, WITHDRAW, "ONLY_TO_CUSTOMER has not 4 octets", UPDATE_ERROR.optionalAttribute);
  return readU32(bytes, at) !== 0
    ? ACCEPT
    : refuse(context, WITHDRAW, "ONLY_TO_CUSTOMER with AS 0", UPDATE_ERROR.optionalAttribute);
}

/**
 * Lengths that a tunnel identifier may have, by type (RFC 6514 section 5; 10: RFC 9574, 11: RFC 8556); empty: any. Types 0x80 and above are composite
 * tunnels (RFC 8317), whose lower bits are such a type.
 */
const identifierBytes: readonly (readonly number[] | undefined)[] = [
  [0],
  [12, 24],
  [],
  [8, 32],
  [8, 32],
  [8, 32],
  [4, 16],
  [],
  undefined,
  undefined,
  [4, 16],
  [],
];

/** RFC 6514 section 5: a PMSI_TUNNEL is malformed when its type is undefined, or its identifier is none of that type; treat-as-withdraw. */
export function checkPmsiTunnel(
  bytes: Uint8Array,
  at: number,
  length: number,
  context: CheckContext,
): Reaction {
  const wrong = UPDATE_ERROR.optionalAttribute;
  if (length < 5)
    return refuse(context, WITHDRAW, "PMSI_TUNNEL is shorter than flags, type and label", wrong);
  const type = bytes[at + 1] as number;
  const lengths = identifierBytes[type & 0x7f];
  if (lengths === undefined) return refuse(context, WITHDRAW, "PMSI_TUNNEL of an undefined type", wrong);
  if (type < 0x80 && lengths.length > 0 && !lengths.includes(length - 5))
    return refuse(context, WITHDRAW, "PMSI_TUNNEL with an identifier that is none of its type", wrong);
  return ACCEPT;
}

function isMultiple(length: number, unit: number): boolean {
  return length > 0 && length % unit === 0;
}

/** RFC 9552: attribute discard when malformed; here always, because it belongs to a family that this speaker does not have. */
export function checkLinkState(
  _bytes: Uint8Array,
  _at: number,
  _length: number,
  context: CheckContext,
): Reaction {
  return refuse(context, DISCARD, "LINK_STATE without its family", UPDATE_ERROR.optionalAttribute);
}
