/** The entry of a worker's thread. Nobody hears of an error in a thread but by its link. */
import { sendMessage, threadInput } from "../../sys/mod.ts";
import { encodeLists } from "./link.ts";
import { PathWorker, type WorkerStart } from "./worker.ts";

const start = await threadInput<WorkerStart>();
try {
  new PathWorker(start).run();
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error);
  for (const message of encodeLists([{ kind: "failed", reason }])) sendMessage(start.link, message);
}
