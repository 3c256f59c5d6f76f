/** The entry of a queue's thread. Nobody hears of an error in a thread but by its port. */
import { threadInput, XdpUnavailable } from "../sys/mod.ts";
import type { QueueEnd, QueueStart } from "./queue-link.ts";
import { QueueWorker } from "./queue-worker.ts";

const start = await threadInput<QueueStart>();
let end: QueueEnd;
try {
  using worker = new QueueWorker(start);
  const reason = worker.run();
  end = { kind: "ended", ...(reason === undefined ? {} : { reason }) };
} catch (error) {
  end = {
    kind: "ended",
    reason: error instanceof Error ? error.message : String(error),
    ...(error instanceof XdpUnavailable ? { lacksXdp: true } : {}),
  };
}
start.port.postMessage(end);
start.port.close();
