/**
 * Admission: how often newcomers may knock, and what became of them. A source here is the address of one use of a token, which nobody
 * can have without the token: who guesses never gets as far as a connection. So what is limited and counted is misuse of a token
 * that somebody has: replay, stolen and spent tokens, programs gone wild.
 *
 * Without clock and socket; times are monotonic unless they say `wall`. Everything is bounded.
 */
import type { RefusalCode } from "./refusal.ts";

/** MAX_NEWCOMERS is how many connections newcomers may have at once, all of them together. */
export const MAX_NEWCOMERS = 64;
/** Of which one token has at most so many, so that a stolen one does not keep out newcomers with another. */
const MAX_PER_TOKEN = 32;
const MAX_PER_USE = 4;
/** Connections that one use may open in a minute. */
const OPENED_PER_MINUTE = 30;
/** Refusals after which a token has to wait until they are a minute old. */
const REFUSED_PER_MINUTE = 20;
const MINUTE_MS = 60_000;
/** Tokens whose refusals are remembered; then the one refused longest ago is forgotten. */
const MAX_TOKENS = 1024;

/** RefusalReason is what refusals are counted by: the codes, and what happens before and beside a request. */
export type RefusalReason = RefusalCode | "too-slow" | "not-enrolment";

/** Newcomer's connection: its source address, and the token whose use that address is. */
export interface Source {
  readonly from: string;
  readonly token: string | undefined;
}

/** TokenRefusals is what was refused to one token's holders since the agent started. */
export interface TokenRefusals {
  readonly count: number;
  readonly last: { readonly reason: RefusalReason; readonly from: string; readonly wallMs: number };
}

interface Tally {
  count: number;
  last: TokenRefusals["last"];
  /** Times of refusals within the last minute; at most REFUSED_PER_MINUTE. */
  recent: number[];
}

/** Admission keeps the counts. */
export class Admission {
  readonly #open = new Map<string, number>();
  readonly #openOfToken = new Map<string, number>();
  readonly #opened = new Map<string, number[]>();
  readonly #counts = new Map<RefusalReason, number>();
  readonly #tokens = new Map<string, Tally>();

  /** enter takes one more connection, or returns why it may not be; call `leave` when one that was taken ends. */
  enter(source: Source, nowMs: number): "too-many" | undefined {
    const { from, token } = source;
    const opened = (this.#opened.get(from) ?? []).filter((time) => nowMs - time < MINUTE_MS);
    const open = this.#open.get(from) ?? 0;
    const ofToken = token === undefined ? 0 : (this.#openOfToken.get(token) ?? 0);
    if (
      open >= MAX_PER_USE ||
      ofToken >= MAX_PER_TOKEN ||
      opened.length >= OPENED_PER_MINUTE ||
      this.#mustWait(token, nowMs)
    )
      return "too-many";
    this.#opened.set(from, [...opened, nowMs]);
    this.#open.set(from, open + 1);
    if (token !== undefined) this.#openOfToken.set(token, ofToken + 1);
    return undefined;
  }

  leave({ from, token }: Source): void {
    less(this.#open, from);
    if (token !== undefined) less(this.#openOfToken, token);
  }

  #mustWait(token: string | undefined, nowMs: number): boolean {
    const recent = token === undefined ? undefined : this.#tokens.get(token)?.recent;
    return (recent?.filter((time) => nowMs - time < MINUTE_MS).length ?? 0) >= REFUSED_PER_MINUTE;
  }

  /**
   * refused counts one refusal. `harmless`: a newcomer that was told of a free use and goes on to it, which must not make others
   * of a large token wait.
   */
  refused(
    source: Source,
    refusal: { readonly reason: RefusalReason; readonly harmless?: boolean },
    now: { readonly nowMs: number; readonly wallMs: number },
  ): void {
    const { reason, harmless = false } = refusal;
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
    if (source.token === undefined) return;
    const old = this.#tokens.get(source.token);
    const last = { reason, from: source.from, wallMs: now.wallMs };
    const kept = (old?.recent ?? []).filter((time) => now.nowMs - time < MINUTE_MS);
    const recent = harmless ? kept : [...kept, now.nowMs].slice(-REFUSED_PER_MINUTE);
    // Moved to the end: the first is the one refused longest ago.
    this.#tokens.delete(source.token);
    this.#tokens.set(source.token, { count: (old?.count ?? 0) + 1, last, recent });
    for (const first of this.#tokens.keys()) {
      if (this.#tokens.size <= MAX_TOKENS) break;
      this.#tokens.delete(first);
    }
  }

  /** counts returns how many refusals there were, by reason, since the agent started. */
  counts(): ReadonlyMap<RefusalReason, number> {
    return new Map([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** ofToken returns what was refused to one token's holders. */
  ofToken(id: string): TokenRefusals | undefined {
    const tally = this.#tokens.get(id);
    return tally && { count: tally.count, last: tally.last };
  }

  /** sweep forgets what is older than a minute. */
  sweep(nowMs: number): void {
    for (const [from, times] of this.#opened)
      if (times.every((time) => nowMs - time >= MINUTE_MS)) this.#opened.delete(from);
  }
}

function less(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 1) - 1;
  if (left > 0) counts.set(key, left);
  else counts.delete(key);
}
