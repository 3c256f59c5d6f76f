import { expect, test } from "bun:test";
import { DueQueue } from "./due-queue.ts";

test("names come out in the order of their last times, against a sorted list", () => {
  for (let seed = 1; seed <= 50; seed++) {
    let state = seed;
    const random = (below: number) => (state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) % below;
    const queue = new DueQueue();
    const model = new Map<string, number>();
    for (let step = 0; step < 500; step++) {
      const name = `n${random(20)}`;
      const kind = random(4);
      if (kind === 0) {
        queue.set(name, undefined);
        model.delete(name);
      } else if (kind < 3) {
        const due = random(1000);
        queue.set(name, due);
        model.set(name, due);
      } else {
        const nowMs = random(1000);
        const taken = queue.take(nowMs);
        const least = Math.min(...model.values());
        if (taken === undefined) expect({ seed, late: least <= nowMs }).toEqual({ seed, late: false });
        else {
          expect({ seed, due: model.get(taken) }).toEqual({ seed, due: least });
          model.delete(taken);
        }
      }
      const next = model.size === 0 ? undefined : Math.min(...model.values());
      expect({ seed, next: queue.nextMs }).toEqual({ seed, next });
    }
  }
});
