/**
 * How many pings of one peer are answered. Each answer proves a ping, so whoever recorded pings of the peer could play them back with its
 * address and use up what it may have: so pings that are certainly new have an allowance of their own.
 *
 * A peer numbers its pings in a row from a random start, one row for each of its lives. A ping that goes on in a row that is known was never
 * sent before; one that does not begins a row, at the expense of the other allowance, or is old.
 */

/** Answers is what is left for one peer, and where its rows of transactions are. */
export interface Answers {
  readonly atMs: number;
  readonly fresh: number;
  readonly other: number;
  /** The greatest transaction of each row, the latest row last. */
  readonly rows: readonly bigint[];
}

/** AnswerRate says how many answers one peer gets. */
export interface AnswerRate {
  readonly perSecond: number;
  readonly burst: number;
}

/** MAX_ROWS are remembered: a peer has two at a time, and a few lives may overlap. */
const MAX_ROWS = 8;
/** A ping is of a row if it is not further ahead: far more were not sent while nothing was heard. */
const MOST_AHEAD = 1n << 20n;

/** startAnswers begins with everything left. */
export function startAnswers(rate: AnswerRate, nowMs: number): Answers {
  return { atMs: nowMs, fresh: rate.burst, other: rate.burst, rows: [] };
}

/** spendAnswer tells whether a ping is answered, and what is left then. */
export function spendAnswer(
  before: Answers,
  ping: { readonly transaction: bigint; readonly nowMs: number },
  rate: AnswerRate,
): readonly [Answers, boolean] {
  const { transaction, nowMs } = ping;
  const earned = (Math.max(0, nowMs - before.atMs) / 1000) * rate.perSecond;
  const left = (tokens: number) => Math.min(rate.burst, tokens + earned);
  const row = before.rows.findIndex((greatest) => isAhead(transaction, greatest));
  const after = { ...before, atMs: nowMs, fresh: left(before.fresh), other: left(before.other) };
  const from = row < 0 ? "other" : "fresh";
  if (after[from] < 1) return [after, false];
  const old = row < 0 && before.rows.some((greatest) => isAhead(greatest, transaction - 1n));
  const others = before.rows.filter((_, i) => i !== row);
  // One that is behind a row begins none: it was overtaken, or is played back.
  const rows = old ? before.rows : [...others, transaction].slice(-MAX_ROWS);
  return [{ ...after, [from]: after[from] - 1, rows }, true];
}

function isAhead(transaction: bigint, of: bigint): boolean {
  const ahead = BigInt.asUintN(64, transaction - of);
  return ahead > 0n && ahead <= MOST_AHEAD;
}
