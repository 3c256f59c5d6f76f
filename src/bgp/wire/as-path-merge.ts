/**
 * AS_PATH and AGGREGATOR of a peer with 2-octet AS numbers, as they would be with four (RFC 6793 section 4.2.3).
 *
 * The peer cannot say a number that needs four octets: it says AS_TRANS, and the number is in AS4_PATH, which speakers of two octets pass
 * on unread. The numbers they put in front of AS_PATH in the meantime are missing from AS4_PATH.
 */
import { AS_TRANS, SEGMENT } from "./as-path-check.ts";
import { ATTRIBUTE, FLAG } from "./attribute-code.ts";
import { CANONICAL_HEADER_BYTES, writeCanonicalHeader } from "./canonical-form.ts";
import { copyOctets, readU16, writeU32 } from "./octets.ts";
import type { UpdateView } from "./update.ts";

/** writeAsPath writes the whole attribute AS_PATH in canonical form and returns what follows. */
export function writeAsPath(view: UpdateView, out: Uint8Array, at: number): number {
  const { bytes } = view;
  const from = view.attributeAt[ATTRIBUTE.asPath] as number;
  const end = from + (view.attributeBytes[ATTRIBUTE.asPath] as number);
  const value = at + CANONICAL_HEADER_BYTES;
  const next = writeMerged(view, bytes, from, end, out, value);
  writeCanonicalHeader(out, at, ATTRIBUTE.asPath, FLAG.transitive, next - value);
  return next;
}

function writeMerged(
  view: UpdateView,
  bytes: Uint8Array,
  from: number,
  end: number,
  out: Uint8Array,
  at: number,
): number {
  const new4 = view.attributeAt[ATTRIBUTE.as4Path] as number;
  const new4End = new4 + (view.attributeBytes[ATTRIBUTE.as4Path] as number);
  // "If the number of AS numbers in the AS_PATH attribute is less than the number of AS numbers in the AS4_PATH attribute, then the AS4_PATH
  // attribute SHALL be ignored, and the AS_PATH attribute SHALL be taken as the AS path information."
  const surplus =
    new4 < 0 || aggregatorSaysIgnore(view)
      ? -1
      : countAs(bytes, from, end, 2) - countAs(bytes, new4, new4End, 4);
  const merged = surplus >= 0;
  let leading = merged ? surplus : Number.MAX_SAFE_INTEGER;
  let position = at;
  let segment = -1;
  for (let i = from; i < end;) {
    const type = bytes[i] as number;
    const count = bytes[i + 1] as number;
    const confed = type > SEGMENT.sequence;
    // A confederation's segment counts nothing, and goes along when what it adjoins does.
    if (leading <= 0 && !(confed && i === from)) break;
    const taken = confed || type === SEGMENT.set ? count : Math.min(count, leading);
    segment = position;
    out[position++] = type;
    out[position++] = taken;
    for (let n = 0; n < taken; n++) position = writeU32(out, position, readU16(bytes, i + 2 + 2 * n));
    if (!confed) leading -= type === SEGMENT.set ? 1 : taken;
    i += 2 + 2 * count;
  }
  if (!merged) return position;
  for (let i = new4; i < new4End;) {
    const count = bytes[i + 1] as number;
    const next = i + 2 + 4 * count;
    // RFC 6793 section 6: a confederation's segments are not for AS4_PATH: they are left out.
    if ((bytes[i] as number) <= SEGMENT.sequence) {
      // One sequence that was cut in two becomes one again, so that both forms of a peer give the same path.
      const joins =
        segment >= 0 &&
        out[segment] === SEGMENT.sequence &&
        bytes[i] === SEGMENT.sequence &&
        count + (out[segment + 1] as number) <= 255;
      if (joins) out[segment + 1] = (out[segment + 1] as number) + count;
      position = copyOctets(bytes, joins ? i + 2 : i, joins ? 4 * count : next - i, out, position);
      // Only what follows the numbers of AS_PATH is one with them.
      segment = -1;
    }
    i = next;
  }
  return position;
}

/** Counts as route selection does: a set is one, a confederation's segment none (RFC 4271 section 9.1.2.2, RFC 5065 section 5.3). */
function countAs(bytes: Uint8Array, from: number, end: number, asBytes: 2 | 4): number {
  let total = 0;
  for (let i = from; i < end; i += 2 + asBytes * (bytes[i + 1] as number)) {
    if (bytes[i] === SEGMENT.sequence) total += bytes[i + 1] as number;
    else if (bytes[i] === SEGMENT.set) total++;
  }
  return total;
}

/** RFC 6793 section 4.2.3: an AGGREGATOR whose AS is not AS_TRANS was made by a router that did not know of AS4_AGGREGATOR and AS4_PATH: both are ignored. */
function aggregatorSaysIgnore(view: UpdateView): boolean {
  const aggregator = view.attributeAt[ATTRIBUTE.aggregator] as number;
  const new4 = view.attributeAt[ATTRIBUTE.as4Aggregator] as number;
  return aggregator >= 0 && new4 >= 0 && readU16(view.bytes, aggregator) !== AS_TRANS;
}

/** writeAggregator writes the whole attribute AGGREGATOR in canonical form and returns what follows. */
export function writeAggregator(view: UpdateView, out: Uint8Array, at: number): number {
  const { bytes } = view;
  const from = view.attributeAt[ATTRIBUTE.aggregator] as number;
  const new4 = view.attributeAt[ATTRIBUTE.as4Aggregator] as number;
  const flags = (view.attributeFlags[ATTRIBUTE.aggregator] as number) & 0xe0;
  const value = writeCanonicalHeader(out, at, ATTRIBUTE.aggregator, flags, 8);
  if (new4 >= 0 && !aggregatorSaysIgnore(view)) return copyOctets(bytes, new4, 8, out, value);
  const address = writeU32(out, value, readU16(bytes, from));
  return copyOctets(bytes, from + 2, 4, out, address);
}
