/**
 * Membership: which route targets a peer asked for (RFC 4684). Peers that asked for the same share one, and with it an update group.
 *
 * ```
 *  key of a route target route: length in bits 1 | origin AS 4 | route target 8, cut to the length; the default is of length 0
 * ```
 */
import { ATTRIBUTE, CANONICAL_HEADER_BYTES, findAttribute, readU16 } from "../wire/mod.ts";
import type { AttributeStore } from "./attribute-store.ts";
import { wider } from "./column.ts";

const ORIGIN_AS_BITS = 32;

/** Membership answers whether a set of attributes has a route target that is wanted. */
export class Membership {
  /** Equal for equal wants. */
  readonly name: string;
  readonly #store: AttributeStore;
  readonly #wanted: readonly { readonly bits: number; readonly target: Uint8Array }[];
  /** By number of the set: its generation, doubled, and the answer in the lowest bit; plus 2, so that 0 is not known. */
  #answers = new Uint32Array(64);

  /** `keys` are the destinations of the peer's route target routes. */
  constructor(keys: readonly Uint8Array[], store: AttributeStore) {
    this.#store = store;
    // The origin AS says who asked, and does not matter here.
    const wanted = new Map(
      keys.map((key) => {
        const bits = Math.max(0, (key[0] as number) - ORIGIN_AS_BITS);
        return [`${bits}/${key.subarray(5).join(".")}`, { bits, target: key.slice(5) }];
      }),
    );
    this.name = [...wanted.keys()].sort().join(" ");
    this.#wanted = [...wanted.values()];
  }

  /** wants tells whether routes with these attributes are sent. */
  wants(id: number): boolean {
    if (id >= this.#answers.length)
      this.#answers = wider(this.#answers, this.#store.end + (this.#store.end >>> 1));
    const known = (((this.#store.generation[id] as number) << 1) + 2) >>> 0;
    const answer = this.#answers[id] as number;
    if ((answer & ~1) >>> 0 === known) return (answer & 1) === 1;
    const wants = this.#look(id);
    this.#answers[id] = (known | (wants ? 1 : 0)) >>> 0;
    return wants;
  }

  #look(id: number): boolean {
    if (this.#wanted.some(({ bits }) => bits === 0)) return true;
    const bytes = this.#store.memoryOf(id);
    const from = this.#store.offsetIn(id);
    const header = findAttribute(bytes, from, from + this.#store.lengthOf(id), ATTRIBUTE.extendedCommunities);
    if (header < 0) return false;
    const value = header + CANONICAL_HEADER_BYTES;
    const end = value + readU16(bytes, header + 2);
    for (let at = value; at < end; at += 8)
      // Sub-type 2 is the route target, of each of the three types.
      if (bytes[at + 1] === 2 && (bytes[at] as number) <= 2)
        for (const { bits, target } of this.#wanted) if (startsAlike(bytes, at, target, bits)) return true;
    return false;
  }
}

function startsAlike(bytes: Uint8Array, at: number, target: Uint8Array, bits: number): boolean {
  const whole = bits >>> 3;
  for (let i = 0; i < whole; i++) if (bytes[at + i] !== target[i]) return false;
  const rest = bits & 7;
  return (
    rest === 0 ||
    (((bytes[at + whole] as number) ^ (target[whole] as number)) & (0xff00 >> rest) & 0xff) === 0
  );
}
