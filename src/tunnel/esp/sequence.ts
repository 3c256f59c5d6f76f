/**
 * The sequence numbers of the packets that leave under an association (RFC 4303, sections 2.2 and 3.3.3): 64 bits of which the packet
 * carries the lower half, claimed by several threads, each number exactly once, and never one again.
 *
 * ```
 * memory:  0  packets sent, the lower 32 bits       changed by the processor's own atomic addition
 *          4  how many halves (2^31) are full       follows, moved by whoever claims first in the next one
 * ```
 * The word that follows lags at most one behind, since every thread moves it before it claims again; so the top bit of what was claimed
 * tells which of two values is right. All zero is a new association, whose first number is 1.
 */

/** SEQUENCE_WORDS is the length of the memory, in words of 32 bits. */
export const SEQUENCE_WORDS = 2;
/** LAST_SEQUENCE is the last number that may be sent: without and with extended sequence numbers. Those stop at what is an exact number here. */
export const LAST_SEQUENCE = { plain: 2 ** 32 - 1, extended: 2 ** 53 - 1 } as const;

const LOW = 0;
const HALVES = 1;
const HALF = 2 ** 31;
const REST = HALF - 1;

/** claimSequence takes `count` numbers (1 to 65,536) and returns the first; -1 when fewer are left up to `last`. */
export function claimSequence(memory: Int32Array, count: number, last: number): number {
  for (;;) {
    const halves = Atomics.load(memory, HALVES);
    if (sent(halves, Atomics.load(memory, LOW)) + count > last) return -1;
    const low = Atomics.add(memory, LOW, count);
    // Once in 2^31: the addition may have been before or after the other's move. Its numbers are lost, which the window of the peer bears.
    if (Atomics.load(memory, HALVES) !== halves) continue;
    const before = sent(halves, low);
    const now = Math.floor(before / HALF);
    if (now !== halves) Atomics.compareExchange(memory, HALVES, halves, now);
    return before + count > last ? -1 : before + 1;
  }
}

/** storeSequence makes `next` (1 or more) the number that is claimed next; only on memory that nobody uses yet. */
export function storeSequence(memory: Int32Array, next: number): void {
  memory[LOW] = next - 1;
  memory[HALVES] = Math.floor((next - 1) / HALF);
}

/** sentPackets returns how many numbers were claimed. */
export function sentPackets(memory: Int32Array): number {
  for (;;) {
    const halves = Atomics.load(memory, HALVES);
    const low = Atomics.load(memory, LOW);
    if (Atomics.load(memory, HALVES) === halves) return sent(halves, low);
  }
}

/** The number whose lower word is `low`, in the half that is the last known to be reached or the next. */
function sent(halves: number, low: number): number {
  return (halves + ((low >>> 31) ^ (halves & 1))) * HALF + (low & REST);
}
