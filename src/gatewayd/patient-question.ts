/** A question to somebody who may be stuck: it is asked once until it is answered, and who wants to know waits for a limited time. */
import { after } from "../sys/mod.ts";

/** PatientQuestion asks one thing again and again. */
export class PatientQuestion<T> {
  readonly #ask: () => Promise<T>;
  readonly #limitMs: number;
  #answer: Promise<T> | undefined;
  #isLate = false;

  /** `ask` is waited for `limitMs`; once that was too short, nobody waits until it is answered. */
  constructor(ask: () => Promise<T>, limitMs: number) {
    this.#ask = ask;
    this.#limitMs = limitMs;
  }

  /** answer resolves with the answer; undefined where there is none in time. Rejects as `ask` does. */
  async answer(): Promise<T | undefined> {
    if (this.#isLate) return undefined;
    const answer = (this.#answer ??= this.#asked());
    const { promise: limit, resolve } = Promise.withResolvers<undefined>();
    using _ = after(this.#limitMs, () => {
      this.#isLate ||= this.#answer === answer;
      resolve(undefined);
    });
    return await Promise.race([answer, limit]);
  }

  #asked(): Promise<T> {
    return this.#ask().finally(() => {
      this.#answer = undefined;
      this.#isLate = false;
    });
  }
}
