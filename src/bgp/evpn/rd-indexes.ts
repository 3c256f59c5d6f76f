/**
 * RdIndexes: the 16-bit number of a VNI in its route distinguisher (RFC 7432 section 7.9: type 1, an address of the router and a number). It is
 * the VNI where that fits, so that a route that comes back after a restart is the same route.
 */

/** The field has 16 bits; 0 is left out. */
const MOST = 0xffff;
/** VNIs that do not fit begin in the last so many numbers, where few VNIs are. */
const HIGH = 1024;

/** RdIndexes owns the numbers of one router. */
export class RdIndexes {
  readonly #byVni = new Map<number, number>();
  readonly #taken = new Set<number>();

  /** of returns a VNI's number: the VNI itself where that fits and nobody has it, else the next free one below. */
  of(vni: number): number {
    const known = this.#byVni.get(vni);
    if (known !== undefined) return known;
    if (this.#taken.size >= MOST)
      throw new RangeError(
        `VNI ${vni} has no route distinguisher: all ${MOST} of this router are taken; write rd`,
      );
    let index = vni <= MOST ? vni : MOST - (vni % HIGH);
    while (this.#taken.has(index)) index = index === 1 ? MOST : index - 1;
    this.#byVni.set(vni, index);
    this.#taken.add(index);
    return index;
  }

  /** release gives the number of a VNI back that is not announced any more. */
  release(vni: number): void {
    const index = this.#byVni.get(vni);
    if (index === undefined) return;
    this.#byVni.delete(vni);
    this.#taken.delete(index);
  }
}
