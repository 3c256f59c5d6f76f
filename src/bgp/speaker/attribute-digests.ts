/** AttributeDigests: what EVPN reads of sets of attributes, read once for a set however many routes have it. */
import { type EvpnAttributes, evpnAttributes } from "../evpn/mod.ts";
import type { Rib } from "../rib/mod.ts";

/** So many sets are remembered; beyond it all are forgotten, and read again as they are met. */
const MOST_DIGESTS = 65_536;

/** AttributeDigests owns what was read. */
export class AttributeDigests {
  readonly #rib: Rib;
  readonly #known = new Map<number, { readonly generation: number; readonly digest: EvpnAttributes }>();

  constructor(rib: Rib) {
    this.#rib = rib;
  }

  /** of returns what a set says, by its number. */
  of(set: number): EvpnAttributes {
    const { store } = this.#rib;
    // A number is used again for other sets.
    const generation = store.generation[set] as number;
    const known = this.#known.get(set);
    if (known?.generation === generation) return known.digest;
    if (this.#known.size >= MOST_DIGESTS) this.#known.clear();
    const digest = evpnAttributes(store.copyOf(set));
    this.#known.set(set, { generation, digest });
    return digest;
  }
}
