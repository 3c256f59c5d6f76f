/** Claims: several may say something of the same thing; the latest that still stands is right. */

/** Claims holds what claimants say of each key. Most keys have one claimant. */
export class Claims<K, V> {
  readonly #byKey = new Map<K, { readonly claimant: string; readonly value: V }[]>();

  /** set makes what a claimant says of a key the latest. */
  set(key: K, claimant: string, value: V): void {
    const others = this.#others(key, claimant);
    this.#byKey.set(key, others === undefined ? [{ claimant, value }] : [...others, { claimant, value }]);
  }

  /** delete takes back what a claimant says of a key. */
  delete(key: K, claimant: string): void {
    const others = this.#others(key, claimant);
    if (others === undefined) this.#byKey.delete(key);
    else this.#byKey.set(key, others);
  }

  /** What others say of a key; undefined when nobody says anything. */
  #others(key: K, claimant: string): { readonly claimant: string; readonly value: V }[] | undefined {
    const others = this.#byKey.get(key)?.filter((claim) => claim.claimant !== claimant);
    return others?.length === 0 ? undefined : others;
  }

  /** get returns what is said of a key last; undefined when nobody says anything. */
  get(key: K): V | undefined {
    return this.#byKey.get(key)?.at(-1)?.value;
  }

  /** keys returns all keys of which something is said. */
  keys(): Iterable<K> {
    return this.#byKey.keys();
  }

  clear(): void {
    this.#byKey.clear();
  }

  get size(): number {
    return this.#byKey.size;
  }
}

/** Counts counts how often each key is used; `use` and `drop` tell when that begins and ends. */
export class Counts<K> {
  readonly #counts = new Map<K, number>();

  /** use returns true for the first use. */
  use(key: K): boolean {
    const count = this.#counts.get(key) ?? 0;
    this.#counts.set(key, count + 1);
    return count === 0;
  }

  /** drop returns true for the last use. */
  drop(key: K): boolean {
    const count = this.#counts.get(key) ?? 0;
    if (count > 1) this.#counts.set(key, count - 1);
    else this.#counts.delete(key);
    return count === 1;
  }
}
