/** AS paths as values: segments in the order of the wire, each with its kind (RFC 4271 section 4.3, RFC 5065 section 3). */
import { SEGMENT } from "./as-path-check.ts";
import { readU32 } from "./octets.ts";

/** AsSegment is 1 to 255 AS numbers. */
export interface AsSegment {
  readonly kind: "sequence" | "set" | "confed-sequence" | "confed-set";
  readonly asns: readonly number[];
}

/** AsPath is a path of 4-octet numbers, nearest AS first; empty for routes of our own AS. */
export type AsPath = readonly AsSegment[];

const kinds = {
  [SEGMENT.set]: "set",
  [SEGMENT.sequence]: "sequence",
  [SEGMENT.confedSequence]: "confed-sequence",
  [SEGMENT.confedSet]: "confed-set",
} as const;

const codes = {
  set: SEGMENT.set,
  sequence: SEGMENT.sequence,
  "confed-sequence": SEGMENT.confedSequence,
  "confed-set": SEGMENT.confedSet,
} as const satisfies Record<AsSegment["kind"], number>;

/** decodeAsPath reads segments of 4-octet numbers; undefined when they are malformed. */
export function decodeAsPath(bytes: Uint8Array): AsPath | undefined {
  const path: AsSegment[] = [];
  for (let at = 0; at < bytes.length;) {
    const kind = kinds[bytes[at] as keyof typeof kinds];
    const count = bytes[at + 1] ?? 0;
    const next = at + 2 + 4 * count;
    if (kind === undefined || count === 0 || next > bytes.length) return undefined;
    const from = at + 2;
    path.push({ kind, asns: Array.from({ length: count }, (_, i) => readU32(bytes, from + 4 * i)) });
    at = next;
  }
  return path;
}

/** encodeAsPath returns the octets of a path. */
export function encodeAsPath(path: AsPath): readonly number[] {
  return path.flatMap(({ kind, asns }) => {
    if (asns.length === 0 || asns.length > 255)
      throw new RangeError(`A segment of an AS path has 1 to 255 numbers, not ${asns.length}`);
    return [
      codes[kind],
      asns.length,
      ...asns.flatMap((as) => [as >>> 24, (as >>> 16) & 0xff, (as >>> 8) & 0xff, as & 0xff]),
    ];
  });
}

/** printAsPath returns `65001 65002 {65003,65004}`; a confederation's segments are in parentheses and brackets. */
export function printAsPath(path: AsPath): string {
  const form: Record<AsSegment["kind"], (asns: readonly number[]) => string> = {
    sequence: (asns) => asns.join(" "),
    set: (asns) => `{${asns.join(",")}}`,
    "confed-sequence": (asns) => `(${asns.join(" ")})`,
    "confed-set": (asns) => `[${asns.join(",")}]`,
  };
  return path.map(({ kind, asns }) => form[kind](asns)).join(" ");
}

/** asPathLength counts as path selection does: a set is one, a confederation's segment none (RFC 4271 section 9.1.2.2, RFC 5065 section 5.3). */
export function asPathLength(path: AsPath): number {
  return path.reduce(
    (sum, { kind, asns }) => sum + (kind === "sequence" ? asns.length : kind === "set" ? 1 : 0),
    0,
  );
}

/** prependAs returns a path with a number put in front `times` times; a sequence takes no more than 255 (RFC 4271 section 5.1.2). */
export function prependAs(path: AsPath, as: number, times = 1): AsPath {
  let result: AsPath = path;
  for (let i = 0; i < times; i++) {
    const first = result[0];
    result =
      first?.kind === "sequence" && first.asns.length < 255
        ? [{ kind: "sequence", asns: [as, ...first.asns] }, ...result.slice(1)]
        : [{ kind: "sequence", asns: [as] }, ...result];
  }
  return result;
}
