/** When the tables work: in slices between what sockets do, and how long it takes until all neighbors have been told of a change. */
import { after, monotonicMs, soon } from "../../sys/mod.ts";
import type { Rib } from "../rib/mod.ts";

/** How long one turn of work may take before sockets have theirs. */
const SLICE_MS = 8;
/** Changes that come so soon after others wait for their like: each turn of ten receivers costs ten writes. The first after rest does not. */
const GATHER_MS = 8;
/** When work waits for a slow reader, it is looked at again so soon. */
const PATIENCE_MS = 50;

/** WorkHooks are what goes with a turn. */
export interface WorkHooks {
  /** Nothing is chosen now: neighbors have yet to speak after a restart. */
  isDeferring(): boolean;
  /** Neighbors have yet to speak that restarted too, and were not waited for with choosing. */
  keepsFormer(): boolean;
  before(): void;
  after(): void;
}

/** Convergence is how long it took from the first change after rest until nothing was left to choose or to encode; milliseconds. */
export interface Convergence {
  readonly count: number;
  readonly lastMs: number;
  readonly longestMs: number;
  readonly sumMs: number;
}

/** WorkLoop owns the timer. */
export class WorkLoop implements Disposable {
  readonly #rib: Rib;
  readonly #hooks: WorkHooks;
  #turn: Disposable | undefined;
  #sinceMs: number | undefined;
  #endedMs = Number.NEGATIVE_INFINITY;
  #convergence: Convergence = { count: 0, lastMs: 0, longestMs: 0, sumMs: 0 };
  readonly #rested = Promise.withResolvers<void>();
  #disposed = false;

  constructor(rib: Rib, hooks: WorkHooks) {
    this.#rib = rib;
    this.#hooks = hooks;
  }

  /** rested resolves when nothing is left to choose or to encode, for the first time, and after a restart nobody has yet to speak. */
  get rested(): Promise<void> {
    return this.#rested.promise;
  }

  get convergence(): Convergence {
    return this.#convergence;
  }

  /** schedule has the tables work soon. */
  schedule(): void {
    const nowMs = monotonicMs();
    this.#sinceMs ??= nowMs;
    if (this.#turn !== undefined || this.#disposed || this.#hooks.isDeferring()) return;
    const waitMs = this.#endedMs + GATHER_MS - nowMs;
    this.#turn = waitMs > 0 ? after(waitMs, () => this.#work()) : soon(() => this.#work());
  }

  #work(): void {
    this.#turn = undefined;
    this.#endedMs = Number.NEGATIVE_INFINITY;
    this.#hooks.before();
    const startMs = monotonicMs();
    let more = true;
    for (let nowMs = startMs; more && nowMs - startMs < SLICE_MS; nowMs = monotonicMs())
      more = this.#rib.work({ nowMs });
    this.#hooks.after();
    if (more) this.schedule();
    else if (this.#rib.isBusy) this.#turn ??= after(PATIENCE_MS, () => this.#work());
    else if (this.#turn === undefined) this.#rest();
  }

  #rest(): void {
    this.#endedMs = monotonicMs();
    if (!this.#hooks.keepsFormer()) this.#rested.resolve();
    if (this.#sinceMs === undefined) return;
    const lastMs = monotonicMs() - this.#sinceMs;
    this.#sinceMs = undefined;
    const { count, longestMs, sumMs } = this.#convergence;
    this.#convergence = {
      count: count + 1,
      lastMs,
      longestMs: Math.max(longestMs, lastMs),
      sumMs: sumMs + lastMs,
    };
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#turn?.[Symbol.dispose]();
  }
}
