/** Resting remembers which addresses were released lately, so that others are handed out first: what still goes to the old pod must not reach another. */
import { formatIp, type Ip } from "../net/mod.ts";

/** MAX_RESTING is how many addresses are remembered of one interval; more pods than that are not deleted in seconds. */
const MAX_RESTING = 4096;

/** Resting holds the addresses of the last interval and the one before. */
export class Resting {
  #now = new Set<string>();
  #before = new Set<string>();

  add(subnet: string, address: Ip): void {
    if (this.#now.size < MAX_RESTING) this.#now.add(keyOf(subnet, address));
  }

  has(subnet: string, address: Ip): boolean {
    const key = keyOf(subnet, address);
    return this.#now.has(key) || this.#before.has(key);
  }

  /** age begins another interval. */
  age(): void {
    this.#before = this.#now;
    this.#now = new Set();
  }
}

function keyOf(subnet: string, address: Ip): string {
  return `${subnet} ${formatIp(address)}`;
}
