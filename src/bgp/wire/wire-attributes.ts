/**
 * Canonical attributes as a session sees them: the header's length in its shortest form, and for a peer with 2-octet AS numbers the numbers that
 * do not fit in AS4_PATH and AS4_AGGREGATOR (RFC 6793 section 4.2.2).
 *
 * Next hop and NLRI (attributes 3, 14, 15) are the caller's: they differ by family and by peer.
 */
import { AS_TRANS, SEGMENT } from "./as-path-check.ts";
import { ATTRIBUTE, FLAG, OPTIONAL_TRANSITIVE } from "./attribute-code.ts";
import { CANONICAL_HEADER_BYTES, canonicalAttributesAt } from "./canonical-form.ts";
import { copyOctets, readU16, readU32, writeU16 } from "./octets.ts";

/** AttributeForm is how a session wants attributes. */
export interface AttributeForm {
  /** AS numbers have 4 octets. */
  readonly as4: boolean;
}

/** writeAttributeHeader writes flags, code and a length in its shortest form, and returns where the value begins. */
export function writeAttributeHeader(
  out: Uint8Array,
  at: number,
  code: number,
  flags: number,
  length: number,
): number {
  out[at + 1] = code;
  if (length < 256) {
    out[at] = flags;
    out[at + 2] = length;
    return at + 3;
  }
  out[at] = flags | FLAG.extendedLength;
  return writeU16(out, at + 2, length);
}

/** writeAttributes writes canonical attributes `bytes[at..end)` at `outAt` as they are sent, and returns what follows. `out` has room for 1.5 times as much, and 64 octets. */
export function writeAttributes(
  bytes: Uint8Array,
  at: number,
  end: number,
  form: AttributeForm,
  out: Uint8Array,
  outAt: number,
): number {
  let position = outAt;
  // Set when the numbers of a path or of an aggregator did not fit.
  let wideAt = -1;
  let aggregatorAt = -1;
  for (let i = canonicalAttributesAt(bytes, at); i < end;) {
    const code = bytes[i] as number;
    const flags = bytes[i + 1] as number;
    const length = readU16(bytes, i + 2);
    const value = i + CANONICAL_HEADER_BYTES;
    if (!form.as4 && code > ATTRIBUTE.as4Path) {
      if (wideAt >= 0) position = writeAs4Path(bytes, wideAt, out, position);
      wideAt = -1;
    }
    if (!form.as4 && code > ATTRIBUTE.as4Aggregator) {
      if (aggregatorAt >= 0) position = writeAs4Aggregator(bytes, aggregatorAt, out, position);
      aggregatorAt = -1;
    }
    if (!form.as4 && code === ATTRIBUTE.asPath) {
      if (hasWide(bytes, value, value + length)) wideAt = i;
      position = writeTwoOctetPath(bytes, value, length, flags, out, position);
    } else if (!form.as4 && code === ATTRIBUTE.aggregator) {
      if (readU32(bytes, value) > 0xffff) aggregatorAt = i;
      position = writeTwoOctetAggregator(bytes, value, flags, out, position);
    } else {
      position = writeAttributeHeader(out, position, code, flags, length);
      position = copyOctets(bytes, value, length, out, position);
    }
    i = value + length;
  }
  if (wideAt >= 0) position = writeAs4Path(bytes, wideAt, out, position);
  if (aggregatorAt >= 0) position = writeAs4Aggregator(bytes, aggregatorAt, out, position);
  return position;
}

/** Whether a path has a number that does not fit two octets, outside of a confederation's segments (which AS4_PATH does not have). */
function hasWide(bytes: Uint8Array, at: number, end: number): boolean {
  for (let i = at; i < end;) {
    const next = i + 2 + 4 * (bytes[i + 1] as number);
    if ((bytes[i] as number) <= SEGMENT.sequence)
      for (let n = i + 2; n < next; n += 4) if (bytes[n] !== 0 || bytes[n + 1] !== 0) return true;
    i = next;
  }
  return false;
}

/** Length of a path of 4-octet numbers when they have two. */
function twoOctetBytes(bytes: Uint8Array, at: number, end: number): number {
  let length = 0;
  for (let i = at; i < end; i += 2 + 4 * (bytes[i + 1] as number)) length += 2 + 2 * (bytes[i + 1] as number);
  return length;
}

function twoOctets(as: number): number {
  return as > 0xffff ? AS_TRANS : as;
}

function writeTwoOctetPath(
  bytes: Uint8Array,
  at: number,
  length: number,
  flags: number,
  out: Uint8Array,
  outAt: number,
): number {
  const end = at + length;
  let position = writeAttributeHeader(out, outAt, ATTRIBUTE.asPath, flags, twoOctetBytes(bytes, at, end));
  for (let i = at; i < end;) {
    const next = i + 2 + 4 * (bytes[i + 1] as number);
    position = copyOctets(bytes, i, 2, out, position);
    for (let n = i + 2; n < next; n += 4) position = writeU16(out, position, twoOctets(readU32(bytes, n)));
    i = next;
  }
  return position;
}

/** RFC 6793 section 4.2.2: AS4_PATH is the path with its 4-octet numbers, without a confederation's segments. */
function writeAs4Path(bytes: Uint8Array, headerAt: number, out: Uint8Array, outAt: number): number {
  const at = headerAt + CANONICAL_HEADER_BYTES;
  const end = at + readU16(bytes, headerAt + 2);
  let length = 0;
  for (let i = at; i < end; i += 2 + 4 * (bytes[i + 1] as number))
    if ((bytes[i] as number) <= SEGMENT.sequence) length += 2 + 4 * (bytes[i + 1] as number);
  let position = writeAttributeHeader(out, outAt, ATTRIBUTE.as4Path, OPTIONAL_TRANSITIVE, length);
  for (let i = at; i < end;) {
    const next = i + 2 + 4 * (bytes[i + 1] as number);
    if ((bytes[i] as number) <= SEGMENT.sequence) position = copyOctets(bytes, i, next - i, out, position);
    i = next;
  }
  return position;
}

function writeTwoOctetAggregator(
  bytes: Uint8Array,
  at: number,
  flags: number,
  out: Uint8Array,
  outAt: number,
): number {
  const value = writeAttributeHeader(out, outAt, ATTRIBUTE.aggregator, flags, 6);
  return copyOctets(bytes, at + 4, 4, out, writeU16(out, value, twoOctets(readU32(bytes, at))));
}

function writeAs4Aggregator(bytes: Uint8Array, headerAt: number, out: Uint8Array, outAt: number): number {
  const value = writeAttributeHeader(out, outAt, ATTRIBUTE.as4Aggregator, OPTIONAL_TRANSITIVE, 8);
  return copyOctets(bytes, headerAt + CANONICAL_HEADER_BYTES, 8, out, value);
}
