/**
 * AttributeMap: a function from attribute sets to attribute sets, which is asked once for each set. Answers hold no references: a
 * number's generation tells whether an answer is still about the set it was given for.
 */
import type { AttributeStore } from "./attribute-store.ts";
import { wider } from "./column.ts";

/** Change makes canonical bytes of others: the same object for unchanged, undefined to reject. */
export type Change = (canonical: Uint8Array<ArrayBuffer>) => Uint8Array | undefined;

/** AttributeMap owns the answers of one function. */
export class AttributeMap {
  readonly #store: AttributeStore;
  readonly #change: Change;
  /** By number of the set: the generation for which the answer holds, plus one; the answer; and the answer's generation. */
  #known = new Uint32Array(64);
  #answer = new Uint32Array(64);
  #answerGeneration = new Uint32Array(64);

  constructor(store: AttributeStore, change: Change) {
    this.#store = store;
    this.#change = change;
  }

  /** apply returns the set to go on with, with a reference for the caller, or 0 where it is rejected. */
  apply(id: number): number {
    const store = this.#store;
    if (id >= this.#known.length) this.#grow(store.end + (store.end >>> 1));
    const generation = ((store.generation[id] as number) + 1) >>> 0;
    if (this.#known[id] === generation) {
      const answer = this.#answer[id] as number;
      if (answer === 0) return 0;
      // The answer may have been given up by all in the meantime, and its number be another set's.
      if (store.references(answer) > 0 && store.generation[answer] === this.#answerGeneration[id]) {
        store.hold(answer);
        return answer;
      }
    }
    const answer = changed(store, id, this.#change);
    this.#known[id] = generation;
    this.#answer[id] = answer;
    this.#answerGeneration[id] = store.generation[answer] as number;
    return answer;
  }

  #grow(capacity: number): void {
    this.#known = wider(this.#known, capacity);
    this.#answer = wider(this.#answer, capacity);
    this.#answerGeneration = wider(this.#answerGeneration, capacity);
  }
}

/** changed applies a change once; the result has a reference for the caller, 0 for none. */
export function changed(store: AttributeStore, id: number, change: Change): number {
  const before = store.copyOf(id);
  const after = change(before);
  if (after === undefined) return 0;
  if (after === before) {
    store.hold(id);
    return id;
  }
  return store.intern(after, 0, after.length);
}
