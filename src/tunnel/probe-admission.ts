/**
 * How many of the datagrams that anybody may send us are worth a look: so that a flood costs the agent little, and that of one sender does not keep
 * out the others.
 *
 * Senders share slots by a hash of their address (of IPv6 the network, 64 bits) under a random seed; each slot has an allowance, many nodes behind
 * one NAT included. All together have one more, and so have datagrams too long to be handed on whole: they are made to be large, not many.
 */

/** PROBE_WHOLE_BYTES is the longest datagram that is handed on whole, with its magic: what fits into one packet of IPv6's least MTU. */
export const PROBE_WHOLE_BYTES = 1232;
/** PROBE_HEAD_BYTES of a longer one are handed on: a probe of the MTU is padding from there on. */
export const PROBE_HEAD_BYTES = 256;

const SLOTS = 256;
/** Behind the slots of senders. */
const ALL = SLOTS;
const LARGE = SLOTS + 1;

/** How many a second, and at once, after a pause. */
const SENDER = { perSecond: 2000, burst: 2000 } as const;
const EVERYBODY = { perSecond: 20_000, burst: 4000 } as const;
const LARGE_ONES = { perSecond: 500, burst: 250 } as const;

const allowanceOf = (slot: number) => (slot < SLOTS ? SENDER : slot === ALL ? EVERYBODY : LARGE_ONES);

/** keptBytes returns how much of a datagram is handed on. */
export function keptBytes(datagramBytes: number): number {
  return datagramBytes <= PROBE_WHOLE_BYTES ? datagramBytes : PROBE_HEAD_BYTES;
}

/** ProbeAdmission keeps the allowances. */
export class ProbeAdmission {
  /** Datagrams that were not admitted. */
  refused = 0;
  readonly #seed: number;
  readonly #left = Float64Array.from({ length: SLOTS + 2 }, (_, slot) => allowanceOf(slot).burst);
  readonly #atMs = new Float64Array(SLOTS + 2);

  constructor(seed: number) {
    this.#seed = seed | 0;
  }

  /** admits takes from the allowance of an address of 4 or 16 bytes, which begins at `at`. */
  admits(
    bytes: Uint8Array,
    at: number,
    about: { readonly family: 4 | 6; readonly datagramBytes: number; readonly nowMs: number },
  ): boolean {
    const { nowMs } = about;
    const admitted =
      this.#take(this.#slot(bytes, at, about.family === 4 ? 4 : 8), nowMs) &&
      this.#take(ALL, nowMs) &&
      (about.datagramBytes <= PROBE_WHOLE_BYTES || this.#take(LARGE, nowMs));
    if (!admitted) this.refused++;
    return admitted;
  }

  #take(slot: number, nowMs: number): boolean {
    const { perSecond, burst } = allowanceOf(slot);
    const passedMs = Math.max(0, nowMs - (this.#atMs[slot] as number));
    const left = Math.min(burst, (this.#left[slot] as number) + (passedMs * perSecond) / 1000);
    this.#atMs[slot] = Math.max(nowMs, this.#atMs[slot] as number);
    this.#left[slot] = left >= 1 ? left - 1 : left;
    return left >= 1;
  }

  /** FNV-1a, with a seed that senders do not know. */
  #slot(bytes: Uint8Array, at: number, length: number): number {
    let hash = this.#seed;
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ (bytes[at + i] as number), 0x01000193);
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x2c1b3c6d);
    return ((hash ^ (hash >>> 12)) >>> 0) % SLOTS;
  }
}
