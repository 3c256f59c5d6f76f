/** Changes of canonical attributes that the protocol itself asks for: a community added, an attribute taken out. */
import {
  ATTRIBUTE,
  CANONICAL_HEADER_BYTES,
  canonicalAttributesAt,
  findAttribute,
  OPTIONAL_TRANSITIVE,
  readU16,
  writeCanonicalHeader,
  writeU16,
  writeU32,
} from "../wire/mod.ts";
import type { Change } from "./attribute-map.ts";

/** LLGR_STALE is the community of routes that are kept for long (RFC 9494 section 4.6). */
export const LLGR_STALE = 0xffff0006;

/** addLongLivedStale adds LLGR_STALE. */
export const addLongLivedStale: Change = (canonical) => {
  const header = findAttribute(canonical, 0, canonical.length, ATTRIBUTE.communities);
  if (header >= 0) {
    const length = readU16(canonical, header + 2);
    const end = header + CANONICAL_HEADER_BYTES + length;
    const out = spliced(canonical, end, end, 4);
    writeU32(out, end, LLGR_STALE);
    writeU16(out, header + 2, length + 4);
    return out;
  }
  let at = canonicalAttributesAt(canonical, 0);
  while (at < canonical.length && (canonical[at] as number) < ATTRIBUTE.communities)
    at += CANONICAL_HEADER_BYTES + readU16(canonical, at + 2);
  const out = spliced(canonical, at, at, CANONICAL_HEADER_BYTES + 4);
  writeU32(out, writeCanonicalHeader(out, at, ATTRIBUTE.communities, OPTIONAL_TRANSITIVE, 4), LLGR_STALE);
  return out;
};

/** withoutMed takes MULTI_EXIT_DISC out: what one neighbouring AS said of itself is not for another (RFC 4271 section 5.1.4). */
export const withoutMed: Change = (canonical) => {
  const header = findAttribute(canonical, 0, canonical.length, ATTRIBUTE.med);
  return header < 0 ? canonical : spliced(canonical, header, header + CANONICAL_HEADER_BYTES + 4, 0);
};

/** Bytes with [from, to) replaced by `room` zeros. */
function spliced(bytes: Uint8Array, from: number, to: number, room: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length - (to - from) + room);
  out.set(bytes.subarray(0, from));
  out.set(bytes.subarray(to), from + room);
  return out;
}
