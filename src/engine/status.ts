/**
 * Status of an object: pending, ready or failed, with reason, since when, and when it is tried next. Pure; times are arguments.
 *
 * The engine counts in monotonic time, which no jump of the machine's clock moves; only what is shown is in wall time.
 */

/** FIRST_RETRY_MS is how long after its first failure an object is tried again. */
export const FIRST_RETRY_MS = 1_000;

/** LAST_RETRY_MS is the longest wait between two tries. */
export const LAST_RETRY_MS = 60_000;

/** ObjectStatus is what people and programs see of one desired object. Times are milliseconds since 1970. */
export interface ObjectStatus {
  /** The scope that wants it; the first by name when several do. */
  readonly scope: string;
  /** Kind and identity: `route 10.1.0.0/16`. */
  readonly key: string;
  /** `pending`: not tried yet, or waits for something else. */
  readonly state: "pending" | "ready" | "failed";
  readonly reason?: string;
  readonly sinceMs: number;
  readonly nextTryMs?: number;
}

/** Condition is the part of a status that the engine keeps, in monotonic milliseconds; `failures` counts tries without success in between. */
export interface Condition extends Pick<ObjectStatus, "state" | "reason" | "sinceMs" | "nextTryMs"> {
  readonly failures: number;
}

/** retryDelayMs doubles from FIRST_RETRY_MS to LAST_RETRY_MS; `failures` counts from 1. */
export function retryDelayMs(failures: number): number {
  return Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 16));
}

/** untried is the condition of an object that was just asked for. */
export function untried(nowMs: number): Condition {
  return fresh("pending", nowMs);
}

/** ready is the condition of an object that is true; it keeps `sinceMs` while it stays so. */
export function ready(previous: Condition, nowMs: number): Condition {
  if (previous.state === "ready") return previous;
  return fresh("ready", nowMs);
}

const latest = new Map<string, Condition>();

/** Thousands of objects are asked for, and made true, at one moment: they share the value. */
function fresh(state: "pending" | "ready", sinceMs: number): Condition {
  const known = latest.get(state);
  if (known?.sinceMs === sinceMs) return known;
  const condition: Condition = { state, sinceMs, failures: 0 };
  latest.set(state, condition);
  return condition;
}

/** waiting is the condition of an object that needs another one first; that one's appearance wakes it, no timer does. */
export function waiting(previous: Condition, reason: string, nowMs: number): Condition {
  if (previous.state === "pending" && previous.reason === reason) return previous;
  return {
    state: "pending",
    reason,
    sinceMs: previous.state === "pending" ? previous.sinceMs : nowMs,
    failures: 0,
  };
}

/** failed is the condition of an object that was refused; it is tried again after an exponential back-off. */
export function failed(previous: Condition, reason: string, nowMs: number): Condition {
  const failures = previous.failures + 1;
  return {
    state: "failed",
    reason,
    sinceMs: previous.state === "failed" ? previous.sinceMs : nowMs,
    failures,
    nextTryMs: nowMs + retryDelayMs(failures),
  };
}

/** statusOf shows the condition of an object to people and programs. `wallOffsetMs` is what wall time is ahead of monotonic time now. */
export function statusOf(
  entry: { readonly key: string; readonly condition: Condition },
  { scope, wallOffsetMs }: { readonly scope: string; readonly wallOffsetMs: number },
): ObjectStatus {
  const { state, reason, sinceMs, nextTryMs } = entry.condition;
  return {
    scope,
    key: entry.key,
    state,
    sinceMs: Math.round(sinceMs + wallOffsetMs),
    ...(reason !== undefined && { reason }),
    ...(nextTryMs !== undefined && { nextTryMs: Math.round(nextTryMs + wallOffsetMs) }),
  };
}
