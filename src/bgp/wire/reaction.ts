/** What RFC 7606 makes a receiver do with an UPDATE, in rising severity: of two faults the greater reaction counts (section 3 (h)). */

/** ACCEPT: nothing is wrong. */
export const ACCEPT = 0;
/** DISCARD: the attribute is left out and the rest goes on ("attribute discard"). */
export const DISCARD = 1;
/** WITHDRAW: all routes of the UPDATE are taken as withdrawn ("treat-as-withdraw"). */
export const WITHDRAW = 2;
/** RESET: the session ends with a NOTIFICATION ("session reset"). "AFI/SAFI disable" is not used. */
export const RESET = 3;

/** Reaction is one of the four. */
export type Reaction = typeof ACCEPT | typeof DISCARD | typeof WITHDRAW | typeof RESET;

/** reactionName returns the RFC's words for a reaction. */
export function reactionName(reaction: Reaction): string {
  return ["accept", "attribute discard", "treat-as-withdraw", "session reset"][reaction] as string;
}
