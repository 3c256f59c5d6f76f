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

/** inParallel runs work for each item, at most `width` at a time; the first failure is thrown when all have ended. */
export async function inParallel<T, R>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length && failures.length === 0) {
      const index = next++;
      try {
        results[index] = await work(items[index] as T);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
  return results;
}
