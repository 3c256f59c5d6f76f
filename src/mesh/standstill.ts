/** Pings while this process stands still: their answers may have come and were not read, so that this time is nobody's silence. */

/** MOST_STANDSTILL_MS is how much longer a ping is waited for at most: who is always late would find nobody dead. */
export const MOST_STANDSTILL_MS = 2_000;

/** waitedFor returns pings that are waited for longer, since this process stood still for `forMs` until now; of that counts what came after they were sent. */
export function waitedFor<P extends { readonly sentMs: number; readonly stoodMs?: number }>(
  pings: readonly P[],
  { nowMs, forMs }: { readonly nowMs: number; readonly forMs: number },
): readonly P[] {
  return pings.map((ping) => {
    const stoodMs = (ping.stoodMs ?? 0) + Math.min(forMs, Math.max(0, nowMs - ping.sentMs));
    return { ...ping, stoodMs: Math.min(MOST_STANDSTILL_MS, stoodMs) };
  });
}
