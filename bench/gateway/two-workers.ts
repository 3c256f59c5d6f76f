/** Two threads with a queue each, beside one of them alone: what one queue's processor time gives, and what it still gives when another works. */
import { type Row, row } from "../measure.ts";
import type { SoftLoopOptions } from "./soft-loop.ts";

const THREADS = 2;

/** Thread is a worker that does one thing after the other. */
class Thread implements Disposable {
  readonly #worker = new Worker(new URL("./soft-worker.ts", import.meta.url).href);

  /** ask sends a message and waits until it is done. */
  ask(message: SoftLoopOptions | number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = () => resolve();
      this.#worker.onerror = ({ message: text }) => reject(new Error(text));
      this.#worker.postMessage(message);
    });
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

/** Millions of packets that these threads together would do in a second with a processor each, by the CPU time that they took. */
async function rate(threads: readonly Thread[], packets: number): Promise<number> {
  const before = process.cpuUsage();
  await Promise.all(threads.map((thread) => thread.ask(packets)));
  const { user, system } = process.cpuUsage(before);
  return (threads.length * threads.length * packets) / (user + system);
}

/** measureWorkers returns the row `two-workers`: what two do, beside twice what one does. */
export async function measureWorkers(plan: {
  readonly loop: SoftLoopOptions;
  readonly rounds: number;
  readonly warmUp: number;
  readonly packets: number;
}): Promise<Row> {
  using stack = new DisposableStack();
  const threads = Array.from({ length: THREADS }, () => stack.use(new Thread()));
  await Promise.all(threads.map((thread) => thread.ask(plan.loop)));
  await Promise.all(threads.map((thread) => thread.ask(plan.warmUp)));
  const samples: { readonly two: number[]; readonly one: number[] } = { two: [], one: [] };
  for (let i = 0; i < plan.rounds; i++) {
    samples.two.push(await rate(threads, plan.packets));
    samples.one.push(THREADS * (await rate(threads.slice(i % THREADS).slice(0, 1), plan.packets)));
  }
  const about = { case: "two-workers", unit: "Mpps", peer: "twice what one does alone", moreIsBetter: true };
  return row(about, samples.two, samples.one);
}
