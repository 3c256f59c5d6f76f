/**
 * MAC mobility (RFC 7432 section 15): which sequence number an address that was learned here is announced with, and when it moves so often that
 * it must be at two places. Pure: times are arguments.
 */

/** DUPLICATE_MOVES within DUPLICATE_MS are a duplicate (RFC 7432 section 15.1: N and M, by default 5 and 180 s). */
export const DUPLICATE_MOVES = 5;
export const DUPLICATE_MS = 180_000;

/** MOST_SEQUENCE is the highest sequence number there is: it has four bytes (RFC 7432 section 7.7). */
export const MOST_SEQUENCE = 0xffff_ffff;

/** Mobility is what is known of one local address. */
export interface Mobility {
  readonly sequence: number;
  /** When it came here from elsewhere, lately. */
  readonly movesMs: readonly number[];
  /** It moved too often: its sequence is not raised any more, until it is forgotten. */
  readonly duplicate: boolean;
}

/** Remote is what the best route of another VTEP says of the same address. */
export interface Remote {
  readonly sequence: number;
  readonly sticky: boolean;
}

/** Learned is what follows from learning an address here. */
export type Learned =
  | { readonly kind: "announce"; readonly mobility: Mobility }
  /** Announced as it was, and people are told once. */
  | { readonly kind: "duplicate"; readonly mobility: Mobility; readonly isNew: boolean }
  /** RFC 7432 section 15.2: somebody says that it does not move; this is an error there or here. */
  | { readonly kind: "sticky-elsewhere" };

/** learnedHere takes an address that was seen here, while the best route elsewhere is `remote`, if there is one. */
export function learnedHere(
  known: Mobility | undefined,
  remote: Remote | undefined,
  { nowMs, sticky }: { readonly nowMs: number; readonly sticky: boolean },
): Learned {
  if (remote?.sticky === true && !sticky) return { kind: "sticky-elsewhere" };
  const before = known ?? { sequence: 0, movesMs: [], duplicate: false };
  if (remote === undefined) return { kind: "announce", mobility: before };
  if (before.duplicate) return { kind: "duplicate", mobility: before, isNew: false };
  const movesMs = [...before.movesMs.filter((atMs) => nowMs - atMs < DUPLICATE_MS), nowMs];
  if (movesMs.length >= DUPLICATE_MOVES)
    return { kind: "duplicate", mobility: { ...before, movesMs, duplicate: true }, isNew: true };
  // FRR's rule: one more than the other, and never less than it was. Against the highest of all there is nothing but the same: the lower VTEP wins.
  const sequence = Math.min(Math.max(remote.sequence + 1, before.sequence), MOST_SEQUENCE);
  return { kind: "announce", mobility: { sequence, movesMs, duplicate: false } };
}
