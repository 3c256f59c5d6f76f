/** Threads with a loop of their own: a worker of the runtime that never returns to it. What it shares with others are descriptors and memory. */
import { dlopen, FFIType } from "bun:ffi";
import { SystemError } from "./errno.ts";
import { stable } from "./memory.ts";

const MOST_CPUS = 1024;
const EINVAL = 22;

const { i32, ptr, u64_fast } = FFIType;
const load = () =>
  dlopen("libc.so.6", {
    sched_getaffinity: { args: [i32, u64_fast, ptr], returns: i32 },
    sched_setaffinity: { args: [i32, u64_fast, ptr], returns: i32 },
    dup3: { args: [i32, i32, i32], returns: i32 },
  }).symbols;
let calls: ReturnType<typeof load> | undefined;

const O_CLOEXEC = 0o2000000;
/** Nothing to do for so long is idle. */
const IDLE_MS = 500;

/** startThread runs a module as a thread and hands it a value, which it gets by `threadInput`. `url` is `new URL("./x.ts", import.meta.url)`. */
export function startThread(url: URL | string, input: unknown, onError: (error: Error) => void): void {
  const worker = new Worker(url, { type: "module" } as WorkerOptions);
  worker.addEventListener("error", (event) => onError(new Error(event.message)));
  worker.postMessage(input);
}

/** threadInput resolves with what the thread was handed. */
export function threadInput<T>(): Promise<T> {
  return new Promise((resolve) => {
    // The types of the runtime know only the main thread's global.
    (globalThis as { onmessage?: (event: { readonly data: T }) => void }).onmessage = ({ data }) =>
      resolve(data);
  });
}

/** allowedCpus returns the processors that this thread may run on (sched_getaffinity(2)). */
export function allowedCpus(): number[] {
  calls ??= load();
  const mask = stable(MOST_CPUS / 8);
  if (calls.sched_getaffinity(0, mask.length, mask) < 0) throw new SystemError("sched_getaffinity", EINVAL);
  return Array.from({ length: MOST_CPUS }, (_, cpu) => cpu).filter(
    (cpu) => (((mask[cpu >> 3] as number) >> (cpu & 7)) & 1) === 1,
  );
}

/** pinThread keeps this thread on one processor; EINVAL if it is not there or not allowed. */
export function pinThread(cpu: number): void {
  calls ??= load();
  const mask = stable(MOST_CPUS / 8);
  if (cpu >= 0 && cpu < MOST_CPUS) mask[cpu >> 3] = 1 << (cpu & 7);
  if (calls.sched_setaffinity(0, mask.length, mask) !== 0)
    throw new SystemError("sched_setaffinity", EINVAL, `CPU ${cpu}`);
}

/** replaceDescriptor makes `number` mean what `by` means, in one step for all threads, and closes what it was. */
export function replaceDescriptor(number: number, by: number): void {
  calls ??= load();
  if (calls.dup3(by, number, O_CLOEXEC) < 0) throw new SystemError("dup3", EINVAL);
}

/**
 * IdleCollection collects garbage when a thread has nothing to do after it made some: a loop that never returns to the runtime gets none of its own
 * collections, which wait for idle moments, and would keep what a thousand handshakes left.
 */
export class IdleCollection {
  readonly #most: number;
  #made = 0;

  /** `most` pieces of work are not worth a collection. */
  constructor(most: number) {
    this.#most = most;
  }

  /** worked counts pieces of work that made garbage. */
  worked(pieces: number): void {
    this.#made += pieces;
  }

  /** waitMs shortens a wait (-1: for ever) so that its end can be an idle moment. */
  waitMs(waitMs: number): number {
    if (this.#made <= this.#most) return waitMs;
    return waitMs < 0 ? IDLE_MS : Math.min(waitMs, IDLE_MS);
  }

  /** idle: a wait ended with nothing to do. */
  idle(): void {
    if (this.#made <= this.#most) return;
    this.#made = 0;
    Bun.gc(true);
  }
}
