/** A thread that claims sequence numbers from the memory that it is sent, and sends back what it got: number, count, number, count, … */
import { claimSequence, LAST_SEQUENCE } from "../../src/tunnel/esp/sequence.ts";

declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<{ readonly memory: Int32Array; readonly claims: number }>) => {
  const claimed = new Float64Array(data.claims * 2);
  for (let i = 0; i < data.claims; i++) {
    const count = 1 + (i % 30);
    claimed[2 * i] = claimSequence(data.memory, count, LAST_SEQUENCE.extended);
    claimed[2 * i + 1] = count;
  }
  postMessage(claimed);
};
