/**
 * The SPIs of what comes in to this gateway (RFC 4301, section 4.1): random, since one from outside the path should not guess them, and no two
 * associations of the gateway have the same, on whichever queues.
 */
import type { Spis } from "../../exchange/mod.ts";
import { LEAST_SPI } from "../../tunnel/esp/mod.ts";

/** MOST_SPIS of a book are taken at most; random numbers then still find a free one at once. */
export const MOST_SPIS = 2 ** 24;
/** NARROW_END: a Vita and its like may index a table of so many by SPI. */
const NARROW_END = 2 ** 16;
const WIDE_END = 2 ** 32;
const TRIES = 64;

/** SpiBook remembers which are taken. */
export class SpiBook {
  readonly #random: (length: number) => Uint8Array;
  readonly #taken = new Set<number>();

  constructor(random: (length: number) => Uint8Array) {
    this.#random = random;
  }

  /** How many are taken. */
  get size(): number {
    return this.#taken.size;
  }

  /** narrow gives out SPIs below 65536, wide any. Both take from the same book. */
  readonly narrow: Spis = this.#spis(NARROW_END);
  readonly wide: Spis = this.#spis(WIDE_END);

  /** occupy takes a known SPI, of an association that was there before. */
  occupy(spi: number): void {
    this.#taken.add(spi);
  }

  #spis(end: number): Spis {
    return {
      take: (count) => this.#take(count, end),
      release: (first, count) => {
        for (let spi = first; spi < first + count; spi++) this.#taken.delete(spi);
      },
    };
  }

  #take(count: number, end: number): number | undefined {
    if (this.#taken.size + count > MOST_SPIS) return undefined;
    for (let tries = 0; tries < TRIES; tries++) {
      const { buffer, byteOffset } = this.#random(4);
      const random = new DataView(buffer, byteOffset).getUint32(0);
      const first = (random % end) - (random % count);
      if (this.#claim(first, count)) return first;
    }
    return end === NARROW_END ? this.#search(count) : undefined;
  }

  /** Looks at all narrow ones, which may be nearly full. */
  #search(count: number): number | undefined {
    for (let first = Math.ceil(LEAST_SPI / count) * count; first + count <= NARROW_END; first += count)
      if (this.#claim(first, count)) return first;
    return undefined;
  }

  #claim(first: number, count: number): boolean {
    if (first < LEAST_SPI) return false;
    for (let spi = first; spi < first + count; spi++) if (this.#taken.has(spi)) return false;
    for (let spi = first; spi < first + count; spi++) this.#taken.add(spi);
    return true;
  }
}
