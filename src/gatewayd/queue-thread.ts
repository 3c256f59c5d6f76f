/** The entry of a queue's thread. Nobody hears of an error in a thread but by its port. */
import { threadInput } from "../sys/mod.ts";
import type { FromQueue, QueueStart } from "./queue-link.ts";
import { QueueWorker } from "./queue-worker.ts";

const start = await threadInput<QueueStart>();
let end: FromQueue;
try {
  using worker = new QueueWorker(start);
  const reason = worker.run();
  end = { kind: "ended", ...(reason === undefined ? {} : { reason }) };
} catch (error) {
  end = { kind: "ended", reason: error instanceof Error ? error.message : String(error) };
}
start.port.postMessage(end);
start.port.close();
