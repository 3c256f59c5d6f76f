/** A thread with a SoftLoop of its own: for each message, which is a number of packets, it lets so many go round and says so. */
import { SoftLoop, type SoftLoopOptions } from "./soft-loop.ts";

declare const self: Worker & {
  onmessage: (event: { readonly data: SoftLoopOptions | number }) => void;
};

let loop: SoftLoop | undefined;

self.onmessage = ({ data }) => {
  if (typeof data === "number") loop?.run(data);
  else loop = new SoftLoop(data);
  self.postMessage(data);
};
