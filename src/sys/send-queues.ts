/**
 * The queues that connections send from, a bounded number for all of them: one that takes nothing holds its queue only until another
 * connection needs one.
 *
 * ```
 * take ─▶ a free queue, or a new one ─▶ none left, or none for this source: whoever was slow for 5 s is ended, and its queue is taken
 * ```
 * A source has no more queues than are left for the others: one alone half of all, two a third each. So there is always one for who comes next.
 */
import { monotonicMs } from "./clock.ts";

/** SEND_QUEUES are the bounds. */
export const SEND_QUEUES = {
  /** Some 40 ms of 100 Mbit/s: longer ones only make what waits old, shorter ones lose what comes while another process has the processor. */
  bytes: 512 * 1024,
  /** All queues together are 64 MiB. */
  most: 128,
  /** Slow is who takes less than so many bytes in so long, some 100 kbit/s, while something waits for it. */
  slowMs: 5000,
  slowBytes: 64 * 1024,
  /** So often is looked who is slow, at most. */
  lookMs: 100,
} as const;

/** QueueHolder is a connection that something waits for. */
export interface QueueHolder {
  /** Whose it is: an address, or what stands for it. */
  readonly source: string;
  /** Bytes that it has taken since it was opened. */
  readonly takenBytes: number;
  /** giveUp ends the connection, which releases its queue. */
  giveUp(): void;
}

interface Held {
  atMs: number;
  bytes: number;
}

/** SendQueues lends queues. */
export class SendQueues {
  readonly #bounds: Readonly<Record<keyof typeof SEND_QUEUES, number>>;
  readonly #free: Uint8Array[] = [];
  /** What each holder had taken when it was looked at last and was well, or took its queue. */
  readonly #held = new Map<QueueHolder, Held>();
  /** How many each source has. */
  readonly #sources = new Map<string, number>();
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(bounds: Partial<Record<keyof typeof SEND_QUEUES, number>> = {}) {
    this.#bounds = { ...SEND_QUEUES, ...bounds };
  }

  /** take lends a queue; undefined while all are in use by those who are not slow, or as many as its source may have. */
  take(holder: QueueHolder, nowMs = monotonicMs()): Uint8Array | undefined {
    const { source } = holder;
    if (!this.#mayTake(source)) this.#endSlow(nowMs);
    if (!this.#mayTake(source)) return undefined;
    const queue = this.#free.pop() ?? this.#make();
    this.#held.set(holder, { atMs: nowMs, bytes: holder.takenBytes });
    this.#sources.set(source, this.#of(source) + 1);
    return queue;
  }

  #of(source: string): number {
    return this.#sources.get(source) ?? 0;
  }

  #mayTake(source: string): boolean {
    return this.#left > this.#of(source);
  }

  get #left(): number {
    return this.#bounds.most - this.#held.size;
  }

  #make(): Uint8Array {
    return new Uint8Array(this.#bounds.bytes);
  }

  /** giveBack takes a queue back. */
  giveBack(holder: QueueHolder, queue: Uint8Array): void {
    this.#held.delete(holder);
    const left = this.#of(holder.source) - 1;
    if (left > 0) this.#sources.set(holder.source, left);
    else this.#sources.delete(holder.source);
    this.#free.push(queue);
  }

  #endSlow(nowMs: number): void {
    const { lookMs, slowMs, slowBytes } = this.#bounds;
    if (nowMs - this.#lookedMs < lookMs) return;
    this.#lookedMs = nowMs;
    const left = this.#left;
    for (const [holder, held] of [...this.#held]) {
      // Those of a source that has not all it may have are in nobody's way.
      if (this.#of(holder.source) < left || nowMs - held.atMs < slowMs) continue;
      if (holder.takenBytes - held.bytes < slowBytes) holder.giveUp();
      else {
        held.atMs = nowMs;
        held.bytes = holder.takenBytes;
      }
    }
  }
}
