/** Measuring: ours and theirs in turn, so that what else the machine does hits both; warm-up first; medians with min and max. */
import { cpus, release, totalmem } from "node:os";

/** Spread is what several runs gave, in the row's unit. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** The value that 99 of 100 runs stay below. */
  readonly p99: number;
}

/** Row is one case. `ratio` is how many times better ours is: theirs / ours for times, ours / theirs for rates. */
export interface Row {
  readonly case: string;
  readonly unit: string;
  readonly ours: number;
  /** What ours is compared with. */
  readonly peer: string;
  /** Not a number where there is no peer. */
  readonly theirs: number;
  readonly ratio: number;
  readonly runs: number;
  readonly oursSpread: Spread;
  readonly theirsSpread: Spread;
}

/** Bench is one benchmark: a sentence, and a function that measures its cases. */
export interface Bench {
  readonly about: string;
  /** What `run` understands, as one line; absent: nothing. */
  readonly options?: string;
  run(options: readonly string[]): Row[] | Promise<Row[]>;
  /** Prints the rows in a form of its own; default: one line each. */
  table?(rows: readonly Row[]): string;
}

/** Comparison is one case to measure; `ours` and `theirs` do the work once and return the value in `unit`. */
export interface Comparison {
  readonly case: string;
  readonly unit: string;
  readonly peer: string;
  readonly runs: number;
  /** Runs before the first that counts; default 2. */
  readonly warmUp?: number;
  /** Whether more is better (rates) rather than less (times). */
  readonly moreIsBetter?: boolean;
  ours(): number;
  theirs(): number;
}

/** compare measures a case. */
export function compare(comparison: Comparison): Row {
  const { runs, warmUp = 2 } = comparison;
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let run = -warmUp; run < runs; run++) {
    const [one, other] = [comparison.ours(), comparison.theirs()];
    if (run < 0) continue;
    ours.push(one);
    theirs.push(other);
  }
  return row(comparison, ours, theirs);
}

/** row makes the row of a case from what was measured. */
export function row(
  { case: name, unit, peer, moreIsBetter }: Pick<Comparison, "case" | "unit" | "peer" | "moreIsBetter">,
  ours: readonly number[],
  theirs: readonly number[],
): Row {
  const [oursSpread, theirsSpread] = [spread(ours), spread(theirs)];
  const quotient = theirsSpread.median / oursSpread.median;
  return {
    case: name,
    unit,
    ours: oursSpread.median,
    peer,
    theirs: theirsSpread.median,
    ratio: moreIsBetter ? 1 / quotient : quotient,
    runs: ours.length,
    oursSpread,
    theirsSpread,
  };
}

/** alone makes the row of a case for which there is no peer; `why` says so. In JSON theirs and the ratio are null. */
export function alone(
  { case: name, unit, why }: { readonly case: string; readonly unit: string; readonly why: string },
  ours: readonly number[],
): Row {
  return row({ case: name, unit, peer: `no peer: ${why}` }, ours, []);
}

/** timeMs returns how long a piece of work takes. */
export function timeMs(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number) => sorted[Math.min(Math.max(index, 0), sorted.length - 1)] ?? Number.NaN;
  const median = (at(Math.floor((sorted.length - 1) / 2)) + at(Math.ceil((sorted.length - 1) / 2))) / 2;
  return { median, min: at(0), max: at(sorted.length - 1), p99: at(Math.ceil(sorted.length * 0.99) - 1) };
}

/** machine describes where this was measured. */
export function machine(): Record<string, string | number> {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memoryGb: Math.round(totalmem() / 1e8) / 10,
    kernel: release(),
    bun: Bun.version,
  };
}
