/** From a parsed UPDATE to canonical attributes: see canonical-form.ts for what they look like. */
import { writeAggregator, writeAsPath } from "./as-path-merge.ts";
import { ATTRIBUTE, FLAG } from "./attribute-code.ts";
import { attributeRow } from "./attribute-table.ts";
import { writeCanonicalHeader } from "./canonical-form.ts";
import { copyOctets } from "./octets.ts";
import type { UpdateView } from "./update.ts";

/** CANONICAL_BYTES_MAX is room enough for the canonical form of any UPDATE, extended messages (RFC 8654) included. */
export const CANONICAL_BYTES_MAX = 2 * 65_536;

/**
 * writeCanonical writes the attributes of a parsed UPDATE at `at` and returns what follows. `classic` takes the next hop from NEXT_HOP, for the
 * routes of the NLRI field; without it, from MP_REACH_NLRI. `out` has room for CANONICAL_BYTES_MAX, or four times the attributes' length.
 */
export function writeCanonical(view: UpdateView, classic: boolean, out: Uint8Array, at: number): number {
  const { bytes, codes, codeCount, attributeAt, attributeBytes, attributeFlags } = view;
  let position = at;
  if (classic) {
    out[position++] = 4;
    position = copyOctets(bytes, attributeAt[ATTRIBUTE.nextHop] as number, 4, out, position);
  } else {
    out[position++] = view.nextHopBytes;
    position = copyOctets(bytes, view.nextHopAt, view.nextHopBytes, out, position);
  }
  for (let i = 0; i < codeCount; i++) {
    const code = codes[i] as number;
    const value = attributeAt[code] as number;
    if (value < 0) continue;
    const length = attributeBytes[code] as number;
    let flags = (attributeFlags[code] as number) & 0xe0;
    switch (code) {
      case ATTRIBUTE.nextHop:
      case ATTRIBUTE.mpReach:
      case ATTRIBUTE.mpUnreach:
      case ATTRIBUTE.as4Path:
      case ATTRIBUTE.as4Aggregator:
        continue;
      case ATTRIBUTE.asPath:
        if (!view.session.as4) {
          position = writeAsPath(view, out, position);
          continue;
        }
        break;
      case ATTRIBUTE.aggregator:
        if (!view.session.as4) {
          position = writeAggregator(view, out, position);
          continue;
        }
        break;
      default:
        if (attributeRow(code) === undefined) {
          if ((flags & FLAG.transitive) === 0) continue;
          flags |= FLAG.partial;
        }
    }
    position = writeCanonicalHeader(out, position, code, flags, length);
    position = copyOctets(bytes, value, length, out, position);
  }
  return position;
}
