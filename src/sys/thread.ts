/** Threads with a loop of their own: a worker of the runtime that never returns to it. What it shares with others are descriptors and memory. */
import { dlopen, FFIType } from "bun:ffi";
import { SystemError } from "./errno.ts";
import { stable } from "./memory.ts";
import type { ThreadPort } from "./thread-port.ts";

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
/** A collection may begin when so many times as long has passed as the last one took. */
const SHARE = 50;

/**
 * startThread runs a module as a thread and hands it a value, which it gets by `threadInput`. `url` is `new URL("./x.ts", import.meta.url)`.
 * `ports` that are in the value go over to the thread. A module that has run to its end leaves its thread waiting, with all memory that it has:
 * disposing of what is returned ends it. One that still runs must not be ended so.
 */
export function startThread(
  url: URL | string,
  input: unknown,
  onError: (error: Error) => void,
  ports: readonly ThreadPort[] = [],
): Disposable {
  const worker = new Worker(url, { type: "module" } as WorkerOptions);
  worker.addEventListener("error", (event) => onError(new Error(event.message)));
  worker.postMessage(input, [...ports] as unknown as Bun.Transferable[]);
  return { [Symbol.dispose]: () => void worker.terminate() };
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
 * Collection collects garbage now and then while a thread makes some: a loop that never returns to the runtime gets none of the collections that
 * wait for idle moments, and would grow to a multiple of what it needs. It takes at most a fiftieth of the time.
 */
export class Collection {
  readonly #after: number;
  #made = 0;
  #nextMs = 0;

  /** `after` so many pieces of work a collection is worth its time. */
  constructor(after: number) {
    this.#after = after;
  }

  /** worked counts pieces of work that made garbage, and may collect it. */
  worked(pieces: number): void {
    this.#made += pieces;
    if (this.#made < this.#after) return;
    const startMs = performance.now();
    if (startMs < this.#nextMs) return;
    this.#made = 0;
    Bun.gc(true);
    const endMs = performance.now();
    this.#nextMs = endMs + SHARE * (endMs - startMs);
  }
}
