/**
 * AS paths in place: what is wrong with one.
 *
 * ```
 *  segment   type 1 (1 AS_SET, 2 AS_SEQUENCE, 3 AS_CONFED_SEQUENCE, 4 AS_CONFED_SET) | count 1 | AS numbers, 2 or 4 octets each
 * ```
 */
import { type CheckContext, refuse } from "./check-context.ts";
import { UPDATE_ERROR } from "./notification.ts";
import { readU16, readU32 } from "./octets.ts";
import { ACCEPT, DISCARD, type Reaction, WITHDRAW } from "./reaction.ts";

/** SEGMENT is a segment's type (RFC 4271 section 4.3, RFC 5065 section 3). */
export const SEGMENT = { set: 1, sequence: 2, confedSequence: 3, confedSet: 4 } as const;

/** AS_TRANS stands for an AS number that does not fit two octets (RFC 6793 section 9). */
export const AS_TRANS = 23_456;

/** What walkSegments may find, beside what is malformed. */
const CONFED = 1;
const SETS = 2;
const ZERO = 4;

/** pathFindings walks all segments; -1 when the path is malformed, else what was seen. */
function pathFindings(bytes: Uint8Array, at: number, length: number, asBytes: 2 | 4): number {
  const end = at + length;
  let position = at;
  let found = 0;
  while (position < end) {
    // RFC 7606 section 7.2: malformed when an octet is left over, a segment exceeds the attribute, is empty, or of an undefined type.
    if (end - position < 2) return -1;
    const type = bytes[position] as number;
    const count = bytes[position + 1] as number;
    const next = position + 2 + count * asBytes;
    if (type < 1 || type > 4 || count === 0 || next > end) return -1;
    if (type > 2) found |= CONFED;
    if (type === SEGMENT.set || type === SEGMENT.confedSet) found |= SETS;
    for (position += 2; position < next; position += asBytes)
      if ((asBytes === 4 ? readU32(bytes, position) : readU16(bytes, position)) === 0) found |= ZERO;
  }
  return found;
}

/** A path of 2-octet AS numbers must still fit its attribute when they have four: twice as long, and no more than 65535 octets. */
const TWO_OCTET_PATH_MAX = 32_000;

/** checkAsPath: RFC 7606 section 7.2, treat-as-withdraw. */
export function checkAsPath(bytes: Uint8Array, at: number, length: number, context: CheckContext): Reaction {
  const { session } = context;
  const wrong = UPDATE_ERROR.malformedAsPath;
  const found = pathFindings(bytes, at, length, session.as4 ? 4 : 2);
  if (found < 0 || (!session.as4 && length > TWO_OCTET_PATH_MAX))
    return refuse(context, WITHDRAW, "AS_PATH is malformed", wrong);
  // RFC 7607 section 2: "a BGP speaker MUST NOT originate or propagate a route with an AS number of zero"; an UPDATE with it is malformed.
  if ((found & ZERO) !== 0) return refuse(context, WITHDRAW, "AS_PATH with AS 0", wrong);
  // RFC 5065 section 5: confederation segments from a neighbour outside of the confederation; we are in none.
  if ((found & CONFED) !== 0 && session.external)
    return refuse(context, WITHDRAW, "AS_PATH with a confederation's segment from an external peer", wrong);
  // RFC 9774 section 3: treat-as-withdraw on receipt of AS_SET or AS_CONFED_SET.
  if ((found & SETS) !== 0 && session.asSets !== true)
    return refuse(context, WITHDRAW, "AS_PATH with an AS_SET", wrong);
  if (session.external && session.firstAs !== undefined && !beginsWith(bytes, at, length, context))
    // RFC 4271 section 6.3: "If the UPDATE message is received from an external peer, the local system MAY check whether the leftmost [...] AS in the
    // AS_PATH attribute is equal to the autonomous system number of the peer". RFC 7606 section 7.2 leaves it a matter of policy.
    return refuse(context, WITHDRAW, "AS_PATH does not begin with the peer's AS", wrong);
  return ACCEPT;
}

function beginsWith(bytes: Uint8Array, at: number, length: number, context: CheckContext): boolean {
  if (length === 0 || bytes[at] !== SEGMENT.sequence) return false;
  const first = context.session.as4 ? readU32(bytes, at + 2) : readU16(bytes, at + 2);
  const { firstAs } = context.session;
  return first === firstAs || (!context.session.as4 && first === AS_TRANS && (firstAs as number) > 0xffff);
}

/** checkAs4Path: RFC 6793 section 6, attribute discard when malformed; sets as in AS_PATH. */
export function checkAs4Path(bytes: Uint8Array, at: number, length: number, context: CheckContext): Reaction {
  const wrong = UPDATE_ERROR.optionalAttribute;
  // RFC 6793 section 4.1: not to be sent between speakers of 4-octet AS numbers; whoever receives it there discards it.
  if (context.session.as4)
    return refuse(context, DISCARD, "AS4_PATH on a session with 4-octet AS numbers", wrong);
  if (length < 6) return refuse(context, DISCARD, "AS4_PATH is shorter than one segment", wrong);
  const found = pathFindings(bytes, at, length, 4);
  if (found < 0) return refuse(context, DISCARD, "AS4_PATH is malformed", wrong);
  // RFC 6793 section 6: a confederation's segments in it are left out, and the rest goes on: as-path-merge.ts does so.
  if ((found & ZERO) !== 0) return refuse(context, DISCARD, "AS4_PATH with AS 0", wrong);
  if ((found & SETS) !== 0 && context.session.asSets !== true)
    return refuse(context, WITHDRAW, "AS4_PATH with an AS_SET", wrong);
  return ACCEPT;
}
