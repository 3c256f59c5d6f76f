import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { startThread } from "./thread.ts";
import { hearMessages, threadPorts } from "./thread-port.ts";

test("threads whose modules have ended are gone when they are disposed of", async () => {
  const threads = () => readdirSync("/proc/self/task").length;
  const run = async () => {
    const [ours, theirs] = threadPorts();
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    hearMessages(ours, resolve);
    const url = new URL("../../test/support/ending-thread.ts", import.meta.url);
    using _ = startThread(url, { port: theirs }, reject, [theirs]);
    expect(await promise).toBe("done");
    ours.close();
  };
  // The runtime has threads of its own, which it makes with the first few.
  for (let n = 0; n < 4; n++) await run();
  const before = threads();
  for (let n = 0; n < 12; n++) await run();
  while (threads() > before) await Bun.sleep(10);
}, 60_000);
