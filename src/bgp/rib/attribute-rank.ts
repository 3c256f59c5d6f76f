/**
 * What path selection, loop detection and export ask of a set of attributes, read once when the set is interned.
 *
 * The canonical form is described in wire/canonical.ts: the next hop in front, then attributes, ascending by code.
 */
import { ATTRIBUTE, CANONICAL_HEADER_BYTES, canonicalAttributesAt, readU16, readU32 } from "../wire/mod.ts";

/** RANK_FLAG are the bits that are kept of a set. */
export const RANK_FLAG = {
  /** MAC mobility says that the address does not move (RFC 7432 section 15.2). */
  sticky: 0x1,
  /** Proxy answer for ARP or ND (RFC 9047, as FRR reads it). */
  proxy: 0x2,
  /** LLGR_STALE and NO_LLGR (RFC 9494 section 4.6). */
  longLivedStale: 0x4,
  noLongLived: 0x8,
  /** Communities of RFC 1997. NO_EXPORT_SUBCONFED counts as NO_EXPORT where there are no confederations. */
  noExport: 0x10,
  noAdvertise: 0x20,
  hasOriginator: 0x40,
  hasLocalPreference: 0x80,
  hasMed: 0x100,
  hasRouteTarget: 0x200,
} as const;

/** Rank is what is read of one set. It is reused. */
export interface Rank {
  localPreference: number;
  /** An AS_SET counts as one AS (RFC 4271 section 9.1.2.2 (a)). */
  pathLength: number;
  origin: number;
  med: number;
  /** The neighbouring AS (RFC 4271 section 9.1.2.2 (c)); 0 for a path that began here, or with a set. */
  firstAs: number;
  originator: number;
  clusters: number;
  mobility: number;
  flags: number;
  /** How often the own AS is in the path. */
  ownAsCount: number;
  /** Our router id is the originator, or our cluster id in the list (RFC 4456 section 8). */
  ownReflection: boolean;
}

/** OwnIdentity is what loops are detected by. */
export interface OwnIdentity {
  readonly asn: number;
  readonly routerId: number;
  readonly clusterId: number;
}

/** emptyRank makes a Rank to be filled again and again. */
export function emptyRank(): Rank {
  return {
    localPreference: 100,
    pathLength: 0,
    origin: 0,
    med: 0,
    firstAs: 0,
    originator: 0,
    clusters: 0,
    mobility: 0,
    flags: 0,
    ownAsCount: 0,
    ownReflection: false,
  };
}

/** rankOf fills `rank` from canonical bytes. */
export function rankOf(rank: Rank, own: OwnIdentity, bytes: Uint8Array, from: number, end: number): void {
  rank.localPreference = 100;
  rank.pathLength = 0;
  rank.origin = 0;
  rank.med = 0;
  rank.firstAs = 0;
  rank.originator = 0;
  rank.clusters = 0;
  rank.mobility = 0;
  rank.flags = 0;
  rank.ownAsCount = 0;
  rank.ownReflection = false;
  for (let at = canonicalAttributesAt(bytes, from); at < end;) {
    const value = at + CANONICAL_HEADER_BYTES;
    const length = readU16(bytes, at + 2);
    rankAttribute(rank, own, bytes[at] as number, bytes, value, length);
    at = value + length;
  }
}

function rankAttribute(
  rank: Rank,
  own: OwnIdentity,
  code: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): void {
  switch (code) {
    case ATTRIBUTE.origin:
      rank.origin = bytes[at] as number;
      return;
    case ATTRIBUTE.asPath:
      rankAsPath(rank, own, bytes, at, at + length);
      return;
    case ATTRIBUTE.med:
      rank.med = readU32(bytes, at);
      rank.flags |= RANK_FLAG.hasMed;
      return;
    case ATTRIBUTE.localPreference:
      rank.localPreference = readU32(bytes, at);
      rank.flags |= RANK_FLAG.hasLocalPreference;
      return;
    case ATTRIBUTE.communities:
      for (let i = at; i < at + length; i += 4) rankCommunity(rank, readU32(bytes, i));
      return;
    case ATTRIBUTE.originatorId:
      rank.originator = readU32(bytes, at);
      rank.flags |= RANK_FLAG.hasOriginator;
      if (rank.originator === own.routerId) rank.ownReflection = true;
      return;
    case ATTRIBUTE.clusterList:
      rank.clusters = length >>> 2;
      for (let i = at; i < at + length; i += 4)
        if (readU32(bytes, i) === own.clusterId) rank.ownReflection = true;
      return;
    case ATTRIBUTE.extendedCommunities:
      for (let i = at; i < at + length; i += 8) rankExtended(rank, bytes, i);
      return;
  }
}

function rankAsPath(rank: Rank, own: OwnIdentity, bytes: Uint8Array, from: number, end: number): void {
  let at = from;
  while (at < end) {
    const isSequence = bytes[at] === 2;
    const count = bytes[at + 1] as number;
    if (isSequence && at === from && count > 0) rank.firstAs = readU32(bytes, at + 2);
    rank.pathLength += isSequence ? count : 1;
    at += 2;
    for (let i = 0; i < count; i++, at += 4) if (readU32(bytes, at) === own.asn) rank.ownAsCount++;
  }
}

function rankCommunity(rank: Rank, community: number): void {
  switch (community) {
    case 0xffff0006:
      rank.flags |= RANK_FLAG.longLivedStale;
      return;
    case 0xffff0007:
      rank.flags |= RANK_FLAG.noLongLived;
      return;
    case 0xffffff01:
    case 0xffffff03:
      rank.flags |= RANK_FLAG.noExport;
      return;
    case 0xffffff02:
      rank.flags |= RANK_FLAG.noAdvertise;
      return;
  }
}

function rankExtended(rank: Rank, bytes: Uint8Array, at: number): void {
  const type = bytes[at] as number;
  const subtype = bytes[at + 1] as number;
  if (type === 0x06 && subtype === 0x00) {
    if (((bytes[at + 2] as number) & 1) !== 0) rank.flags |= RANK_FLAG.sticky;
    rank.mobility = readU32(bytes, at + 4);
  } else if (type === 0x06 && subtype === 0x08) {
    if (((bytes[at + 2] as number) & 4) !== 0) rank.flags |= RANK_FLAG.proxy;
  } else if (subtype === 0x02 && type <= 0x02) rank.flags |= RANK_FLAG.hasRouteTarget;
}
