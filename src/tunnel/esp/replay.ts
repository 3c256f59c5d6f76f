/**
 * The window against replayed packets (RFC 4303, section 3.4.3 and appendix A2), of any size up to 8192, with the upper half of extended
 * sequence numbers inferred from it.
 *
 * ```
 *             bottom = T - W + 1        T = the greatest seen
 *  … too old … [ window of W ] ················· ahead ················· [ bottom + 2^32
 *              └──── one number for each lower half: that is the one meant ────┘
 * ```
 * The bitmap is a ring as in RFC 6479: blocks between the old and the new greatest number are cleared when it moves; nothing is shifted.
 * A packet allocates nothing.
 */

/** MOST_WINDOW is the largest window. */
export const MOST_WINDOW = 8192;
/** LEAST_WINDOW must be supported by all (section 3.4.3). */
export const LEAST_WINDOW = 32;

const BLOCK_BITS = 32;

/** SequenceWindow is a view on an association's memory, all of it zero at first. */
export interface SequenceWindow {
  /** How many numbers it reaches back, the greatest included. */
  readonly size: number;
  /** One number: the greatest seen plus one; zero before the first packet. */
  readonly next: Float64Array;
  /** `windowWords(size)` words. */
  readonly bits: Uint32Array;
}

/** windowWords returns the length of a window's bitmap: a power of two, with one block more than the window covers. */
export function windowWords(size: number): number {
  if (!Number.isInteger(size) || size < LEAST_WINDOW || size > MOST_WINDOW)
    throw new RangeError(`A replay window of ${size} packets is not ${LEAST_WINDOW} to ${MOST_WINDOW}`);
  return 2 ** Math.ceil(Math.log2(Math.ceil(size / BLOCK_BITS) + 1));
}

/** newSequenceWindow returns an empty window in memory of its own. */
export function newSequenceWindow(size: number): SequenceWindow {
  return { size, next: new Float64Array(1), bits: new Uint32Array(windowWords(size)) };
}

/**
 * inferSequence returns the whole number of which a packet has the lower half (appendix A2.2): the one in the 2^32 that begin at the
 * window's bottom. -1 for one before the first, and beyond what is an exact number: no packet has it.
 */
export function inferSequence(window: SequenceWindow, low: number): number {
  const bottom = (window.next[0] as number) - window.size;
  const sequence = bottom + ((low - bottom) >>> 0);
  return sequence > 0 && sequence < Number.MAX_SAFE_INTEGER ? sequence : -1;
}

/**
 * isNewSequence tells whether a number may be one that was not seen yet, and changes nothing: a look before the packet is opened, which
 * acceptSequence does not make superfluous.
 */
export function isNewSequence({ next, bits, size }: SequenceWindow, sequence: number): boolean {
  const newest = next[0] as number;
  if (sequence >= newest) return true;
  if (sequence < newest - size) return false;
  return (
    (((bits[(sequence >>> 5) & (bits.length - 1)] as number) >>> (sequence & (BLOCK_BITS - 1))) & 1) === 0
  );
}

/**
 * acceptSequence tells whether a number is new, and marks it as seen. Call it only for a packet that is authentic: a forged one would push
 * out true ones.
 */
export function acceptSequence(window: SequenceWindow, sequence: number): boolean {
  const { next, bits } = window;
  const newest = next[0] as number;
  if (sequence < newest - window.size) return false;
  const mask = bits.length - 1;
  // `>>>` takes a number modulo 2^32, and the ring's length divides that.
  const block = (sequence >>> 5) & mask;
  const bit = 1 << (sequence & (BLOCK_BITS - 1));
  if (sequence >= newest) clearAhead(window, sequence);
  const before = bits[block] as number;
  bits[block] = before | bit;
  return (before & bit) === 0;
}

/**
 * acceptNext marks `count` numbers as seen, from the one behind the newest on, which is at least 1: what acceptSequence does for each of them, in
 * a fraction of the time.
 */
export function acceptNext({ next, bits }: SequenceWindow, count: number): void {
  const first = next[0] as number;
  const mask = bits.length - 1;
  let low = first | 0;
  for (let i = 0; i < count; i++) {
    const block = (low >>> 5) & mask;
    const bit = low & (BLOCK_BITS - 1);
    bits[block] = bit === 0 ? 1 : (bits[block] as number) | (1 << bit);
    low = (low + 1) | 0;
  }
  next[0] = first + count;
}

/** Moves the window so that a greater number is its newest. */
function clearAhead({ next, bits }: SequenceWindow, sequence: number): void {
  const current = Math.floor(((next[0] as number) - 1) / BLOCK_BITS);
  const steps = Math.min(Math.floor(sequence / BLOCK_BITS) - current, bits.length);
  for (let i = 1; i <= steps; i++) bits[(current + i) & (bits.length - 1)] = 0;
  next[0] = sequence + 1;
}
