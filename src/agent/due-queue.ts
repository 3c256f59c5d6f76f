/** Which of many things is due first: a heap in which a later word on a name replaces the earlier one. */

interface Due {
  readonly name: string;
  readonly dueMs: number;
}

/** DueQueue keeps one time for each name. */
export class DueQueue {
  readonly #times = new Map<string, number>();
  /** A binary heap; entries that the map contradicts are passed over. */
  #heap: Due[] = [];

  /** set says when a name is due; undefined for never. */
  set(name: string, dueMs: number | undefined): void {
    if (dueMs === undefined) this.#times.delete(name);
    else if (this.#times.get(name) !== dueMs) {
      this.#times.set(name, dueMs);
      this.#push({ name, dueMs });
    }
  }

  /** The first time, if there is any. */
  get nextMs(): number | undefined {
    return this.#first()?.dueMs;
  }

  /** take removes and returns a name that is due; undefined when none is. */
  take(nowMs: number): string | undefined {
    const first = this.#first();
    if (first === undefined || first.dueMs > nowMs) return undefined;
    this.#pop();
    this.#times.delete(first.name);
    return first.name;
  }

  #first(): Due | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || this.#times.get(first.name) === first.dueMs) return first;
      this.#pop();
    }
  }

  #push(due: Due): void {
    const heap = this.#heap;
    // Contradicted entries are at most as many as the others.
    if (heap.length > 2 * this.#times.size + 16) {
      this.#heap = [];
      for (const [name, dueMs] of this.#times) this.#sift({ name, dueMs });
    } else this.#sift(due);
  }

  #sift(due: Due): void {
    const heap = this.#heap;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Due;
      if (above.dueMs <= due.dueMs) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const child =
        right < heap.length && (heap[right] as Due).dueMs < (heap[left] as Due).dueMs ? right : left;
      if ((heap[child] as Due).dueMs >= last.dueMs) break;
      heap[at] = heap[child] as Due;
      at = child;
    }
    heap[at] = last;
  }
}
