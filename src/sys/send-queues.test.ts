import { expect, test } from "bun:test";
import { type QueueHolder, SendQueues } from "./send-queues.ts";

let made = 0;

class Connection implements QueueHolder {
  takenBytes = 0;
  given = false;
  queue: Uint8Array | undefined;
  readonly source: string;
  readonly #queues: SendQueues;

  constructor(queues: SendQueues, source = `source ${++made}`) {
    this.#queues = queues;
    this.source = source;
  }

  wants(nowMs: number): boolean {
    this.queue ??= this.#queues.take(this, nowMs);
    return this.queue !== undefined;
  }

  emptied(): void {
    if (this.queue !== undefined) this.#queues.giveBack(this, this.queue);
    this.queue = undefined;
  }

  giveUp(): void {
    this.given = true;
    this.emptied();
  }
}

test("a queue goes from hand to hand; while all are in use, whoever was slow for long is ended", () => {
  const queues = new SendQueues({ bytes: 8, most: 2, slowMs: 5000, slowBytes: 100, lookMs: 100 });
  const [slow, quick, late] = [1, 2, 3].map(() => new Connection(queues)) as [
    Connection,
    Connection,
    Connection,
  ];
  expect([slow.wants(0), quick.wants(0), late.wants(0)]).toEqual([true, true, false]);
  quick.emptied();
  expect(late.wants(10)).toBe(true);
  late.emptied();
  expect(quick.wants(20)).toBe(true);
  slow.takenBytes += 99;
  quick.takenBytes += 100;
  // Nobody was slow for long enough yet.
  expect(late.wants(4900)).toBe(false);
  // Just looked.
  expect(late.wants(4999)).toBe(false);
  expect([late.wants(5100), slow.given, quick.given]).toEqual([true, true, false]);
  // Who was well before has to be well again.
  expect(slow.wants(5200)).toBe(false);
  expect([slow.wants(9000), quick.given]).toEqual([false, false]);
  expect([slow.wants(10_300), quick.given]).toEqual([true, true]);
});

test("where queues are left, nobody is ended, however slow", () => {
  const queues = new SendQueues({ bytes: 8, most: 2 });
  const [one, two] = [new Connection(queues), new Connection(queues)];
  expect([one.wants(0), two.wants(1e9), one.given]).toEqual([true, true, false]);
});

test("a source has no more queues than are left for others, however many connections it has; who comes next always gets one", () => {
  const queues = new SendQueues({ bytes: 8 });
  const of = (source: string, count = 128) =>
    Array.from({ length: count }, () => new Connection(queues, source));
  const held = (connections: readonly Connection[]) =>
    connections.filter((connection) => connection.wants(0)).length;
  const first = of("a");
  const second = of("b");
  expect([held(first), held(second), held(of("c", 3))]).toEqual([64, 32, 3]);
  for (let i = 0; i < 20; i++) expect(new Connection(queues).wants(0)).toBe(true);
  // What one gives back is not the other's alone.
  for (const connection of first) connection.emptied();
  expect(held(second)).toBeLessThanOrEqual(64);
  expect(new Connection(queues).wants(0)).toBe(true);
});

test("a source that has all it may have ends its own slow connections, not those of others", () => {
  const queues = new SendQueues({ bytes: 8, most: 8, slowMs: 5000, slowBytes: 100, lookMs: 0 });
  const slow = new Connection(queues, "a");
  expect(slow.wants(0)).toBe(true);
  const greedy = Array.from({ length: 8 }, () => new Connection(queues, "b"));
  const holding = (nowMs: number) => {
    for (const connection of greedy) connection.wants(nowMs);
    return greedy.filter(({ queue }) => queue !== undefined).length;
  };
  expect(holding(0)).toBe(4);
  expect(holding(6000)).toBe(4);
  expect([greedy.some(({ given }) => given), slow.given]).toEqual([true, false]);
});
