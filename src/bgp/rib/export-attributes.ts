/**
 * Attributes on their way out: what a reflector adds (RFC 4456 section 8), what an eBGP speaker changes (RFC 4271 section 5.1), and the next
 * hop. From canonical bytes to canonical bytes; wire makes them what a session wants.
 */
import {
  ATTRIBUTE,
  CANONICAL_HEADER_BYTES,
  canonicalAttributesAt,
  copyOctets,
  OPTIONAL,
  readU16,
  WELL_KNOWN,
  writeCanonicalHeader,
  writeU32,
} from "../wire/mod.ts";
import type { OwnIdentity } from "./attribute-rank.ts";
import { LOCAL, type RibPeer } from "./peer.ts";

/** PeerKind is what an update group's peers are to this router. */
export type PeerKind = "external" | "client" | "internal";

/** Export says how routes change on their way to a group's peers. */
export interface Export {
  readonly kind: PeerKind;
  readonly own: OwnIdentity;
  /** Sent in place of the next hop: to external peers always, to internal ones for routes from outside. */
  readonly nextHopSelf: Uint8Array | undefined;
  /** Sent where a route has no next hop, or one of another link. */
  readonly ownNextHop: Uint8Array | undefined;
}

const AS_SEQUENCE = 2;
/** A segment with one number. */
const SEGMENT_BYTES = 6;
const DEFAULT_LOCAL_PREFERENCE = 100;

/** A link-local address alone is one of the link by which it came, and of no other. */
function isOfLink(bytes: Uint8Array, from: number): boolean {
  return bytes[from] === 16 && bytes[from + 1] === 0xfe && ((bytes[from + 2] as number) & 0xc0) === 0x80;
}

/** nextHopFor returns the next hop that is sent instead of a route's own, undefined to leave it. */
function nextHopFor(how: Export, source: RibPeer, has: boolean): Uint8Array | undefined {
  const fromOutside = source.number === LOCAL || source.options.external;
  if (
    how.nextHopSelf !== undefined &&
    (how.kind === "external" || fromOutside) &&
    !(source.number === LOCAL && has)
  )
    return how.nextHopSelf;
  return has ? undefined : how.ownNextHop;
}

/**
 * writeExported writes the canonical form of a set as it is sent to a group's peers, and returns its end. The order of codes stays
 * ascending. `out` has room for the set and 64 octets more.
 */
export function writeExported(
  how: Export,
  source: RibPeer,
  bytes: Uint8Array,
  from: number,
  end: number,
  out: Uint8Array,
): number {
  const replaced = nextHopFor(how, source, bytes[from] !== 0 && !isOfLink(bytes, from));
  let position: number;
  if (replaced === undefined) {
    // RFC 2545 section 3: the link-local part is for a peer on the same link only; a next hop that is passed on is the global one.
    const length = Math.min(16, bytes[from] as number);
    out[0] = length;
    position = copyOctets(bytes, from + 1, length, out, 1);
  } else {
    out[0] = replaced.length;
    position = copyOctets(replaced, 0, replaced.length, out, 1);
  }
  let done = 0;
  for (let at = canonicalAttributesAt(bytes, from); at < end;) {
    const code = bytes[at] as number;
    const length = readU16(bytes, at + 2);
    const next = at + CANONICAL_HEADER_BYTES + length;
    position = writeBetween(how, source, done, code, out, position);
    done = code;
    position = writeOne(how, source, bytes, at, code, length, out, position);
    at = next;
  }
  return writeBetween(how, source, done, 256, out, position);
}

/** Attributes that have to be there and are not, between two codes that are. */
function writeBetween(
  how: Export,
  source: RibPeer,
  after: number,
  before: number,
  out: Uint8Array,
  at: number,
): number {
  const { origin, asPath, localPreference, originatorId, clusterList } = ATTRIBUTE;
  let position = at;
  if (after < origin && origin < before) {
    position = writeCanonicalHeader(out, position, origin, WELL_KNOWN, 1);
    out[position++] = 0;
  }
  if (after < asPath && asPath < before) {
    const external = how.kind === "external";
    position = writeCanonicalHeader(out, position, asPath, WELL_KNOWN, external ? 6 : 0);
    if (external) position = writeSegment(out, position, how.own.asn);
  }
  if (how.kind === "external") return position;
  if (after < localPreference && localPreference < before) {
    position = writeCanonicalHeader(out, position, localPreference, WELL_KNOWN, 4);
    position = writeU32(out, position, DEFAULT_LOCAL_PREFERENCE);
  }
  if (!isReflected(source)) return position;
  if (after < originatorId && originatorId < before) {
    position = writeCanonicalHeader(out, position, originatorId, OPTIONAL, 4);
    position = writeU32(out, position, source.routerId);
  }
  if (after < clusterList && clusterList < before) {
    position = writeCanonicalHeader(out, position, clusterList, OPTIONAL, 4);
    position = writeU32(out, position, how.own.clusterId);
  }
  return position;
}

function isReflected(source: RibPeer): boolean {
  return source.number !== LOCAL && !source.options.external;
}

function writeOne(
  how: Export,
  source: RibPeer,
  bytes: Uint8Array,
  at: number,
  code: number,
  length: number,
  out: Uint8Array,
  position: number,
): number {
  const { asPath, localPreference, originatorId, clusterList } = ATTRIBUTE;
  if (how.kind === "external") {
    // RFC 4271 section 5.1.5 and RFC 4456 section 8: these stay inside the AS.
    if (code === localPreference || code === originatorId || code === clusterList) return position;
    if (code === asPath) return writePrepended(how.own.asn, bytes, at, length, out, position);
  } else if (code === clusterList && isReflected(source)) {
    // RFC 4456 section 8: "When an RR reflects a route, it MUST prepend the local CLUSTER_ID to the CLUSTER_LIST."
    const into = writeCanonicalHeader(out, position, code, bytes[at + 1] as number, length + 4);
    return copyOctets(
      bytes,
      at + CANONICAL_HEADER_BYTES,
      length,
      out,
      writeU32(out, into, how.own.clusterId),
    );
  }
  return copyOctets(bytes, at, CANONICAL_HEADER_BYTES + length, out, position);
}

function writeSegment(out: Uint8Array, at: number, asn: number): number {
  out[at] = AS_SEQUENCE;
  out[at + 1] = 1;
  return writeU32(out, at + 2, asn);
}

/**
 * RFC 4271 section 5.1.2 (b): prepend to the first sequence, or make a new one in front of a set, or of a sequence of 255. Segments of
 * a confederation stay inside (RFC 5065 section 4.1).
 */
function writePrepended(
  asn: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  out: Uint8Array,
  position: number,
): number {
  const value = position + CANONICAL_HEADER_BYTES;
  const end = at + CANONICAL_HEADER_BYTES + length;
  let into = writeSegment(out, value, asn);
  for (let from = at + CANONICAL_HEADER_BYTES; from < end;) {
    const count = bytes[from + 1] as number;
    const next = from + 2 + 4 * count;
    const isFirst = into === value + SEGMENT_BYTES;
    if (isFirst && bytes[from] === AS_SEQUENCE && count < 255) {
      out[value + 1] = count + 1;
      into = copyOctets(bytes, from + 2, 4 * count, out, into);
    } else if ((bytes[from] as number) <= AS_SEQUENCE) into = copyOctets(bytes, from, next - from, out, into);
    from = next;
  }
  writeCanonicalHeader(out, position, ATTRIBUTE.asPath, bytes[at + 1] as number, into - value);
  return into;
}
