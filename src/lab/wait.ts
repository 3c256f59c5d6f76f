/** Waiting for something to become true, with a word now and then about what is missing. */
import { every, monotonicMs, sleep } from "../sys/mod.ts";

/** WaitOptions bound a wait. */
export interface WaitOptions {
  /** What is waited for, for the error: `node a1 to join`. */
  readonly what: string;
  /** Guards against waiting for ever; not a statement about how long things take. Default two minutes. */
  readonly deadlineMs?: number;
  /** Told what is missing every few seconds. */
  readonly onProgress?: ((text: string) => void) | undefined;
  /** Ends the wait when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** until calls `missing` until it returns undefined; a text says what is still missing and ends up in the error. */
export async function until(
  missing: () => Promise<string | undefined> | string | undefined,
  options: WaitOptions,
): Promise<void> {
  const deadline = monotonicMs() + (options.deadlineMs ?? 120_000);
  let last = "";
  using _ = every(5000, () => options.onProgress?.(`waiting for ${options.what}: ${last}`));
  for (let pauseMs = 25; ; pauseMs = Math.min(pauseMs * 1.5, 500)) {
    throwIfStopped(options.signal);
    const answer = await missing();
    if (answer === undefined) return;
    last = answer;
    if (monotonicMs() > deadline) throw new Error(`Gave up waiting for ${options.what}: ${last}`);
    await sleep(pauseMs);
  }
}

/** throwIfStopped throws when somebody asked to stop. */
export function throwIfStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new Error("Stopped before the end");
}
