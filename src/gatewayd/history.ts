/**
 * What a gateway carried over time, in memory: as Vita's, averages of 2 s for 2 hours, of 30 s for a day and of 5 minutes for a week. Of longer
 * steps the greatest short one is kept too.
 */

/** Totals only grow; packets and bytes. */
export interface Totals {
  readonly rxpackets: number;
  readonly rxbytes: number;
  readonly txpackets: number;
  readonly txbytes: number;
  readonly drops: number;
}

/** Rates are for each second. `most` are packets of both directions in the best short step. */
export interface Rates extends Totals {
  /** Seconds before now at which the step ended. */
  readonly agoSeconds: number;
  readonly most: number;
}

/** spans are how far back one can look. */
export const spans = ["2h", "24h", "7d"] as const;
export type Span = (typeof spans)[number];

/** STEP_MS is how often `add` is to be called. */
export const STEP_MS = 2_000;
const SPANS: Readonly<Record<Span, { readonly stepMs: number; readonly steps: number }>> = {
  "2h": { stepMs: STEP_MS, steps: 3600 },
  "24h": { stepMs: 30_000, steps: 2880 },
  "7d": { stepMs: 300_000, steps: 2016 },
};
const NAMES = ["rxpackets", "rxbytes", "txpackets", "txbytes", "drops"] as const;
const WORDS = NAMES.length + 2;

/** A ring of steps; a row is the end, the rates in the order of NAMES, and the most. */
class Ring {
  readonly #rows: Float64Array;
  readonly #steps: number;
  readonly #stepMs: number;
  #count = 0;
  #first: { readonly ms: number; readonly totals: Totals } | undefined;
  #most = 0;

  constructor({ stepMs, steps }: { readonly stepMs: number; readonly steps: number }) {
    this.#rows = new Float64Array(steps * WORDS);
    this.#steps = steps;
    this.#stepMs = stepMs;
  }

  add(ms: number, totals: Totals, short: number): void {
    this.#first ??= { ms, totals };
    this.#most = Math.max(this.#most, short);
    const passed = (ms - this.#first.ms) / 1000;
    // A timer may come a little early.
    if (passed * 1000 < this.#stepMs - STEP_MS / 2) return;
    const { totals: before } = this.#first;
    const rates = NAMES.map((name) => Math.max(0, totals[name] - before[name]) / passed);
    this.#rows.set([ms, ...rates, this.#most], (this.#count++ % this.#steps) * WORDS);
    this.#first = { ms, totals };
    this.#most = 0;
  }

  list(nowMs: number, most: number): Rates[] {
    const length = Math.min(this.#count, this.#steps, most);
    return Array.from({ length }, (_, i) => {
      const at = ((this.#count - length + i) % this.#steps) * WORDS;
      const [ms = 0, ...values] = this.#rows.subarray(at, at + WORDS);
      const rates = Object.fromEntries(NAMES.map((name, n) => [name, values[n] ?? 0])) as unknown as Totals;
      return { ...rates, most: values[NAMES.length] ?? 0, agoSeconds: (nowMs - ms) / 1000 };
    });
  }
}

/** History is of one gateway. Totals may begin anew, when a queue does: that step then counts as 0. */
export class History {
  readonly #rings = new Map(spans.map((span) => [span, new Ring(SPANS[span])]));
  #before: { readonly ms: number; readonly packets: number } | undefined;

  /** add takes the totals of a moment. */
  add(ms: number, totals: Totals): void {
    const packets = totals.rxpackets + totals.txpackets;
    const passed = this.#before === undefined ? 0 : (ms - this.#before.ms) / 1000;
    const short = passed > 0 ? Math.max(0, packets - (this.#before?.packets ?? 0)) / passed : 0;
    this.#before = { ms, packets };
    for (const ring of this.#rings.values()) ring.add(ms, totals, short);
  }

  /** list returns at most `most` steps of a span, oldest first. */
  list(span: Span, nowMs: number, most: number): readonly Rates[] {
    return this.#rings.get(span)?.list(nowMs, most) ?? [];
  }
}
