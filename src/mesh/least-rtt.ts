/**
 * The least round trip of the last seconds. A machine that has much else to do answers late, and reads late what was answered: that lengthens round
 * trips, often tenfold, and says nothing of the distance. The least of several is hardly longer than the way.
 *
 * ```
 *   ──│── window before ──│── this window ──│──▶   windows begin at the same moments for all hubs, so that what
 *     └───── the least of both is told ─────┘      befalls all of them at once makes none nearer than another
 * ```
 */

/** WINDOW_MS is one window: another distance is known after one or two of them. */
export const WINDOW_MS = 8_000;

/** LeastRtt is what is remembered: the least of two windows, of which the second is the later one. A plain value. */
export interface LeastRtt {
  readonly window: number;
  readonly ms: number;
  /** That of the window before; absent when nothing was answered in it. */
  readonly beforeMs?: number;
}

/** withRtt takes in one round trip. */
export function withRtt(before: LeastRtt | undefined, tookMs: number, nowMs: number): LeastRtt {
  const window = Math.floor(nowMs / WINDOW_MS);
  if (before?.window === window) return { ...before, ms: Math.min(before.ms, tookMs) };
  return { window, ms: tookMs, ...(before?.window === window - 1 ? { beforeMs: before.ms } : {}) };
}

/** leastRtt returns the least of both windows; of what was answered last when that is longer ago. */
export function leastRtt({ window, ms, beforeMs = ms }: LeastRtt, nowMs: number): number {
  return window === Math.floor(nowMs / WINDOW_MS) ? Math.min(ms, beforeMs) : ms;
}
