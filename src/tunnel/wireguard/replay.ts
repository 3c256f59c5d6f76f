/**
 * The window against replayed packets, in the form of RFC 6479: a ring of blocks of 32 bits, of which those between the old and
 * the new greatest counter are cleared when it moves; nothing is ever shifted.
 *
 * ```
 *   accepted:   [greatest - 8160 ........... greatest] and everything above, each once
 *   bits:       ring of 256 blocks; one is given up so that a block is never half old (section 2)
 * ```
 *
 * The memory is the session's (session.ts) and is changed in place: a packet allocates nothing.
 */
import { WINDOW_BITS } from "./limits.ts";

const BLOCK_BITS = 32;
const BLOCKS = WINDOW_BITS / BLOCK_BITS;
/** WINDOW_REACH is how far behind the greatest counter a packet may be. */
export const WINDOW_REACH = WINDOW_BITS - BLOCK_BITS;

/** ReplayWindow is a view on a session's memory, all of it zero at first. */
export interface ReplayWindow {
  /** One number: the greatest counter seen, plus one; zero before the first packet. */
  readonly next: Float64Array;
  /** WINDOW_BITS bits. */
  readonly bits: Uint32Array;
}

/**
 * accept tells whether a counter is new, and marks it as seen. Call it only for a packet that is authentic: a forged counter
 * would push out true ones. Counters are integers below 2^53.
 */
export function accept(window: ReplayWindow, counter: number): boolean {
  const { next, bits } = window;
  const seen = counter + 1;
  const newest = next[0] as number;
  if (seen + WINDOW_REACH < newest) return false;
  if (seen > newest) {
    const current = Math.floor(newest / BLOCK_BITS);
    const steps = Math.min(Math.floor(seen / BLOCK_BITS) - current, BLOCKS);
    // `>>>` takes a number modulo 2^32, and the ring's length divides that.
    for (let i = 1; i <= steps; i++) bits[((current + i) >>> 0) % BLOCKS] = 0;
    next[0] = seen;
  }
  const block = (seen >>> 5) % BLOCKS;
  const bit = 1 << (seen & (BLOCK_BITS - 1));
  const before = bits[block] as number;
  bits[block] = before | bit;
  return (before & bit) === 0;
}
