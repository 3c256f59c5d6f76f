/**
 * WishAnswers: which wishes for route targets (RFC 4684) neighbors have answered in full. Our own route reflectors end each answer with End-of-RIB, as
 * they end the first table; those of others say nothing, and whoever waits does so for a bounded time.
 *
 * ```
 *  wishes ─ batch 7 ─ batch 8 ─▶ sent after a slice of work ─▶ neighbor: [7, 8] ◀── End-of-RIB: 7 is answered, when all that came before it was told
 * ```
 * Answers come in order, and say not to what. Where a neighbor answers two batches at once the second one counts as not answered: late is harmless.
 */
import { after, monotonicMs } from "../../sys/mod.ts";

/**
 * A batch that was sent so long ago has been answered together with another one. Well above what an answer takes: one that comes later would count for
 * the next batch, whose answer is still to come.
 */
const ANSWER_MS = 10_000;
/** So many batches of a neighbor are remembered: one that never answers must not pile them up. */
const MOST_SENT = 64;

interface Sent {
  readonly batch: number;
  readonly sentMs: number;
}

/** WishAnswers numbers batches of wishes, from 1 on. */
export class WishAnswers {
  readonly #nowMs: () => number;
  /** What neighbors that know of wishes have been sent and have not answered. */
  readonly #sent = new Map<object, Sent[]>();
  readonly #waiting = new Map<number, PromiseWithResolvers<void>>();
  #open = 1;
  #hasWishes = false;
  #arrived = 0;
  #answered = 0;

  constructor(nowMs: () => number = monotonicMs) {
    this.#nowMs = nowMs;
  }

  /** wish returns the batch that a wish made now belongs to. */
  wish(): number {
    this.#hasWishes = true;
    return this.#open;
  }

  /** isAnswered tells whether a neighbor has answered a batch, and listeners have been told what it said. */
  isAnswered(batch: number): boolean {
    return batch <= this.#answered;
  }

  /** answered resolves when a batch is answered, nobody is there who could, or patience is at its end. */
  async answered(batch: number, { patienceMs }: { readonly patienceMs: number }): Promise<void> {
    if (this.isAnswered(batch) || this.#sent.size === 0 || patienceMs <= 0) return;
    const wait = this.#waiting.get(batch) ?? Promise.withResolvers<void>();
    this.#waiting.set(batch, wait);
    using _timer = after(patienceMs, () => this.#release(batch));
    await wait.promise;
  }

  /** up begins a session with a neighbor that knows of wishes: it is told all of them, and its first table is the answer. */
  up(neighbor: object): void {
    this.sent();
    this.#sent.set(neighbor, [{ batch: this.#open - 1, sentMs: this.#nowMs() }]);
  }

  /** down ends it. */
  down(neighbor: object): void {
    if (this.#sent.delete(neighbor) && this.#sent.size === 0) this.#wake();
  }

  /** sent says that all wishes made so far are on their way. */
  sent(): void {
    if (!this.#hasWishes) return;
    this.#hasWishes = false;
    const sent = { batch: this.#open++, sentMs: this.#nowMs() };
    for (const list of this.#sent.values()) if (list.push(sent) > MOST_SENT) list.shift();
  }

  /** endOfRib takes a neighbor's word that it has answered. */
  endOfRib(neighbor: object): void {
    const list = this.#sent.get(neighbor) ?? [];
    const nowMs = this.#nowMs();
    // The last one is never lost behind one that was answered with another.
    while (list.length > 1 && nowMs - (list[0] as Sent).sentMs > ANSWER_MS) list.shift();
    const { batch = 0 } = list.shift() ?? {};
    this.#arrived = Math.max(this.#arrived, batch);
  }

  /** told says that listeners know all that has come. */
  told(): void {
    if (this.#arrived === this.#answered) return;
    this.#answered = this.#arrived;
    this.#wake();
  }

  #wake(): void {
    for (const batch of [...this.#waiting.keys()])
      if (this.#sent.size === 0 || this.isAnswered(batch)) this.#release(batch);
  }

  #release(batch: number): void {
    this.#waiting.get(batch)?.resolve();
    this.#waiting.delete(batch);
  }
}
