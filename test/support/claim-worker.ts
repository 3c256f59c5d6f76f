/** A thread that claims send counters from the memory that it is sent, and sends back what it got: first, count, first, count, … */
import { claim } from "../../src/tunnel/wireguard/send-counter.ts";

declare const self: Worker;

/** ClaimWork is what it is sent; `ready` counts threads, so that all of them begin at once. */
export interface ClaimWork {
  readonly counter: Int32Array;
  readonly ready: Int32Array;
  readonly threads: number;
  readonly claims: number;
  readonly most: number;
}

self.onmessage = ({ data }: MessageEvent<ClaimWork>) => {
  const claimed = new Float64Array(data.claims * 2);
  Atomics.add(data.ready, 0, 1);
  while (Atomics.load(data.ready, 0) < data.threads);
  for (let i = 0; i < data.claims; i++) {
    const count = 1 + (i % 46);
    claimed[2 * i] = claim(data.counter, count, data.most);
    claimed[2 * i + 1] = count;
  }
  postMessage(claimed);
};
