/**
 * The counter of the packets that leave under a session. Several threads claim from it, each number exactly once: it is 32 bits wide, so that the
 * processor's own atomic addition does it.
 */

/**
 * MOST_SENT packets are the most that one session sends: above the rest of 2^31 no number of threads that claim at once can carry it. At ten
 * million packets a second a session's 180 seconds end before.
 */
export const MOST_SENT = 2 ** 31 - 2 ** 24;

/** claim takes `count` numbers (1 to 65,536) and returns the first; -1 when fewer are left below `most` (at most MOST_SENT). */
export function claim(counter: Int32Array, count: number, most: number = MOST_SENT): number {
  if (Atomics.load(counter, 0) + count > most) return -1;
  const first = Atomics.add(counter, 0, count);
  // Another thread may have claimed in between; what was added beyond the limit is lost, and never used.
  return first + count > most ? -1 : first;
}
