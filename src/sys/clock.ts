/** Time, the only place that reads it. Protocol cores get times in their events. */
import { clockMs } from "./libc.ts";

/** CLOCK_BOOTTIME of linux/time.h. */
const CLOCK_BOOTTIME = 7;

/** monotonicMs returns milliseconds since an arbitrary moment; never goes back, stops while the machine sleeps. */
export function monotonicMs(): number {
  return performance.now();
}

/** boottimeMs returns milliseconds since the machine started; never goes back, and goes on while it sleeps. */
export function boottimeMs(): number {
  return clockMs(CLOCK_BOOTTIME);
}

/** wallMs returns milliseconds since 1970 UTC. Never compare it with another machine's. */
export function wallMs(): number {
  return Date.now();
}

/** sleep resolves after the given time. */
export function sleep(ms: number): Promise<void> {
  return Bun.sleep(ms);
}

/** every calls `work` at an interval until the returned disposable is disposed; the timer does not keep the process alive. */
export function every(ms: number, work: () => void): Disposable {
  const timer = setInterval(work, ms);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** after calls `work` once, unless the returned disposable is disposed before. */
export function after(ms: number, work: () => void): Disposable {
  const timer = setTimeout(work, ms);
  timer.unref();
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/** soon calls `work` in the next turn of the event loop, after what is ready to be read and written now; unless disposed before. */
export function soon(work: () => void): Disposable {
  const turn = setImmediate(work);
  return { [Symbol.dispose]: () => clearImmediate(turn) };
}

const never = new Int32Array(new SharedArrayBuffer(4));

/** pause stops this thread for a fraction of a second; for waits inside one synchronous piece of work. */
export function pause(ms: number): void {
  Atomics.wait(never, 0, 0, ms);
}
