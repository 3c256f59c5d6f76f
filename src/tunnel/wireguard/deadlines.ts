/**
 * Who has to be looked at next: a heap of moments, one for each number.
 *
 * Timers of a busy peer are put off with every batch of packets. So a moment that becomes later is only noted; the heap keeps the
 * earlier one, and learns of the later when that has passed. `next` may therefore be too early, never too late.
 */

/** Deadlines keeps one moment for each of a set of numbers. */
export class Deadlines {
  /** The heap: numbers ordered by the moment under which they lie in it. */
  readonly #heap: number[] = [];
  readonly #place = new Map<number, number>();
  readonly #lying = new Map<number, number>();
  readonly #wanted = new Map<number, number>();

  /** set gives a number its moment; Infinity for none. */
  set(number: number, atMs: number): void {
    if (atMs === Number.POSITIVE_INFINITY) {
      this.#wanted.delete(number);
      return;
    }
    this.#wanted.set(number, atMs);
    const place = this.#place.get(number);
    if (place === undefined) {
      this.#lying.set(number, atMs);
      this.#heap.push(number);
      this.#rise(this.#heap.length - 1);
    } else if (atMs < (this.#lying.get(number) as number)) {
      this.#lying.set(number, atMs);
      this.#rise(place);
    }
  }

  /** next returns when to call `due`; undefined when nothing is awaited. */
  next(): number | undefined {
    const first = this.#heap[0];
    return first === undefined ? undefined : this.#lying.get(first);
  }

  /** due takes out the numbers whose moment has come, earliest first: `most` of them at most, by default all. */
  due(nowMs: number, most = Number.POSITIVE_INFINITY): number[] {
    const numbers: number[] = [];
    for (
      let atMs = this.next();
      atMs !== undefined && atMs <= nowMs && numbers.length < most;
      atMs = this.next()
    ) {
      const number = this.#pop();
      const wanted = this.#wanted.get(number);
      if (wanted === undefined) continue;
      if (wanted > nowMs) this.set(number, wanted);
      else {
        this.#wanted.delete(number);
        numbers.push(number);
      }
    }
    return numbers;
  }

  #pop(): number {
    const first = this.#heap[0] as number;
    const last = this.#heap.pop() as number;
    this.#place.delete(first);
    this.#lying.delete(first);
    if (first !== last) {
      this.#put(last, 0);
      this.#sink(0);
    }
    return first;
  }

  #key(place: number): number {
    return this.#lying.get(this.#heap[place] as number) as number;
  }

  #put(number: number, place: number): void {
    this.#heap[place] = number;
    this.#place.set(number, place);
  }

  #swap(a: number, b: number): void {
    const [first, second] = [this.#heap[a] as number, this.#heap[b] as number];
    this.#put(second, a);
    this.#put(first, b);
  }

  #rise(from: number): void {
    let place = from;
    this.#put(this.#heap[place] as number, place);
    for (
      let parent = (place - 1) >> 1;
      place > 0 && this.#key(place) < this.#key(parent);
      parent = (place - 1) >> 1
    ) {
      this.#swap(place, parent);
      place = parent;
    }
  }

  #sink(from: number): void {
    let place = from;
    for (;;) {
      let least = place;
      for (const child of [2 * place + 1, 2 * place + 2])
        if (child < this.#heap.length && this.#key(child) < this.#key(least)) least = child;
      if (least === place) return;
      this.#swap(place, least);
      place = least;
    }
  }
}
