/**
 * Inbound associations by their SPI, which this side chooses (RFC 4301, section 4.1): addresses take no part in the look-up, so a peer may
 * change its own. The packet path reads `associations` for each datagram.
 */
import { randomBytes } from "../../sys/mod.ts";
import { type InboundAssociation, LEAST_SPI } from "./association.ts";

/** MOST_ASSOCIATIONS is a limit against mistakes; at it, random SPIs are still found at once. */
export const MOST_ASSOCIATIONS = 65_536;

/** SpiTable owns its associations: what is removed is wiped. */
export class SpiTable implements Disposable {
  readonly #associations = new Map<number, InboundAssociation>();

  /** For PathTables.sessions. */
  get associations(): ReadonlyMap<number, InboundAssociation> {
    return this.#associations;
  }

  /** free returns an SPI that no association has: random, since one from outside the path should not guess it. */
  free(): number {
    for (;;) {
      const { buffer } = randomBytes(4);
      const spi = new DataView(buffer).getUint32(0);
      if (spi >= LEAST_SPI && !this.#associations.has(spi)) return spi;
    }
  }

  /** add takes over an association; throws if another has its SPI. */
  add(association: InboundAssociation): void {
    const { spi } = association;
    if (this.#associations.has(spi))
      throw new Error(`Cannot add inbound association ${spi}: its SPI is taken; choose another`);
    if (this.#associations.size >= MOST_ASSOCIATIONS)
      throw new Error(
        `Cannot add inbound association ${spi}: there are ${MOST_ASSOCIATIONS}; remove some first`,
      );
    this.#associations.set(spi, association);
  }

  /** remove wipes an association's key; false if there is none. Not while the path is at work: OpenStep may hold packets for it. */
  remove(spi: number): boolean {
    const association = this.#associations.get(spi);
    if (association === undefined) return false;
    this.#associations.delete(spi);
    association[Symbol.dispose]();
    return true;
  }

  [Symbol.dispose](): void {
    for (const spi of [...this.#associations.keys()]) this.remove(spi);
  }
}
