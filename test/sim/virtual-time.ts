/** Time that is only a number: what is to happen waits in a heap, and happens in order. */

interface Entry {
  readonly atMs: number;
  readonly order: number;
  readonly work: () => void;
}

/** VirtualTime runs things at their time. */
export class VirtualTime {
  nowMs = 0;
  /** Things that happened. */
  events = 0;
  readonly #heap: Entry[] = [];
  #order = 0;

  /** at does something at a time, which may be now: then after what is being done. */
  at(atMs: number, work: () => void): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push({ atMs: Math.max(atMs, this.nowMs), order: this.#order++, work });
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#before(index, parent)) break;
      this.#swap(index, parent);
      index = parent;
    }
  }

  /** after does something later. */
  after(ms: number, work: () => void): void {
    this.at(this.nowMs + ms, work);
  }

  /** run lets time pass. */
  run(ms: number): void {
    const endMs = this.nowMs + ms;
    const start = this.events;
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= endMs; next = this.#heap[0]) {
      this.#pop();
      this.nowMs = next.atMs;
      next.work();
      // Thousands of things a second, for minutes: more is a loop that does not let time pass.
      if (++this.events - start > 10_000 + ms * 100) throw new Error(`Time stands still at ${this.nowMs}`);
    }
    this.nowMs = endMs;
  }

  #before(a: number, b: number): boolean {
    const [x, y] = [this.#heap[a] as Entry, this.#heap[b] as Entry];
    return x.atMs < y.atMs || (x.atMs === y.atMs && x.order < y.order);
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap;
    [heap[a], heap[b]] = [heap[b] as Entry, heap[a] as Entry];
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Entry;
    if (heap.length === 0) return;
    heap[0] = last;
    let index = 0;
    for (;;) {
      let least = index;
      for (const child of [2 * index + 1, 2 * index + 2])
        if (child < heap.length && this.#before(child, least)) least = child;
      if (least === index) return;
      this.#swap(index, least);
      index = least;
    }
  }
}
